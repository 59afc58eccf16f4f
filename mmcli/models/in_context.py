"""A tabular foundation model over a form as a member of a fused model: an encoder whose features are its decision.

    decision(x) = mean over views v of TabICL(context_v, targets_v, x_v)

Nothing is learnt here: each row is answered in one pass of a frozen network with some train rows, and their targets, in front
of it (Qu et al. 2025, "TabICL"). A view has columns, and classes, in another order, since the network's answer depends on
these. Weights, context and targets are buffers: the artifact needs no folder of models, but the package tabicl, and holds rows
of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError
from mmcli.layers.starting import shapes_alone
from mmcli.models.networks import AveragedHeads, FusedModel
from mmcli.pretrained.hub import need
from mmcli.pretrained.tabular import Network
from mmcli.signals import Kind, Signal, SignalSpec

MOST_ROWS = 2000
"""Train rows that stand in the context at most."""
MOST_CELLS = 20_000_000
"""Of the context."""
VIEWS = 4
COOL = 0.9
"""What logits are divided by, as the network's authors do."""
INDICES = ("kept", "orders", "labels", "known", "targets")
"""Buffers that say which column, class or number of the decision is meant."""
FAR, EDGE = 4.0, 100.0
"""Deviations from which on a number is drawn in, and at which it is cut."""
IMPOSSIBLE = -30.0
"""The log-probability of a class that no train row has."""


class Config(BaseConfig):
    """What is asked, and how much of it stands in front of each row."""

    dim: int = Field(ge=1)
    """Numbers that decide."""
    rows: int = Field(ge=2, le=10_000)
    """Rows of the context."""
    columns: int = Field(ge=1, le=100_000)
    """Columns that vary among them."""
    views: int = Field(ge=1, le=64)
    """Orders of columns and classes."""
    classes: int = Field(ge=0, le=1000)
    """Classes among the rows; none where the target is a number."""
    levels: tuple[float, ...] = ()
    """Of a number, the quantiles that decide."""
    network: Network

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuses before anything is built what memory should not be asked for, and answers that the network does not give."""
        if self.rows * self.columns > MOST_CELLS:
            raise ValueError(f"its context has {self.rows * self.columns:,} cells, of which {MOST_CELLS:,} are taken")
        if self.classes > self.network.max_classes or bool(self.classes) != bool(self.network.max_classes):
            raise ValueError(f"it has {self.classes} classes, and the network tells {self.network.max_classes}")
        if any(not 0 < level < 1 for level in self.levels):
            raise ValueError("its levels do not lie between 0 and 1")
        return self


class InContext(Encoder):
    """Fields [F] -> one token, the decision. Parameters: D, what stands for an absent form; all else are buffers."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"fields"})
    keeps_order: ClassVar[bool] = False
    no_graph: ClassVar[str] = (
        "TabICL, which is a member of it, looks at the numbers of its table as it goes, which a graph cannot (without it: "
        "unset MMCLI_MODELS, then mmcli fuse again, and what stands on that: mmcli run TABLE --folds, mmcli optimize)"
    )
    kept: Tensor
    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    context: Tensor
    targets: Tensor
    orders: Tensor
    labels: Tensor
    known: Tensor

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, config.dim)
        self.config = config
        self.fields = spec.shape[0]
        self.network = skeleton(config.network)
        self.settings = _package().InferenceConfig
        for name in ("mean", "scale", "low", "high"):
            self.register_buffer(name, torch.zeros(config.columns))
        self.register_buffer("kept", torch.zeros(config.columns, dtype=torch.int64))
        self.register_buffer("context", torch.zeros(config.rows, config.columns))
        self.register_buffer("targets", torch.zeros(config.rows))
        self.register_buffer("orders", torch.zeros(config.views, config.columns, dtype=torch.int64))
        self.register_buffer("labels", torch.zeros(config.views, config.classes, dtype=torch.int64))
        self.register_buffer("known", torch.zeros(config.classes, dtype=torch.int64))

    @staticmethod
    def parameter_formula(config: Any, spec: SignalSpec) -> int:  # noqa: ARG004
        dim: int = config.dim
        return dim

    @classmethod
    def of(
        cls,
        network: Network,
        weights: Mapping[str, Tensor],
        values: Tensor,
        targets: Tensor,
        spec: SignalSpec,
        dim: int,
        levels: Sequence[float] = (),
    ) -> InContext:
        """The encoder that has rows `values` [R, F], not a number where missing, in its context, with classes by place, int64
        [R], or numbers [R], of which it gives the quantiles `levels`.

        Raises:
            ConfigError: the package is missing, or the weights are not those of such a network.
        """
        x = torch.where(values.isnan(), values.double().nanmean(0).nan_to_num(), values.double())
        varies = (x != x[:1]).any(0)
        varies[0] |= not bool(varies.any())
        known, places = (targets.new_zeros(0), targets) if levels else targets.unique(return_inverse=True)
        shape = {"rows": len(x), "columns": int(varies.sum()), "classes": len(known), "levels": tuple(levels)}
        check(network, {name: tuple(own.shape) for name, own in weights.items()})
        made = cls(Config(dim=dim, views=VIEWS, network=network, **shape), spec)
        made.network.load_state_dict(dict(weights))
        made.kept.copy_(varies.nonzero()[:, 0])
        made.known.copy_(known)
        made.targets.copy_(places)
        draw = torch.Generator().manual_seed(0)
        for own in (made.orders, made.labels):
            own.copy_(torch.stack([torch.randperm(own.shape[1], generator=draw) for _ in range(VIEWS)]))
        made._fit(x[:, varies])
        return made.eval()

    def _fit(self, x: Tensor) -> None:
        """Learns what numbers are normalised by, as the package's own wrapper does with its normaliser `none`."""
        self.mean.copy_(x.mean(0))
        self.scale.copy_(x.std(0, correction=0) + 1e-6)
        z = ((x - x.mean(0)) / (x.std(0, correction=0) + 1e-6)).clamp(-EDGE, EDGE)
        near = (z - z.mean(0)).abs() <= FAR * z.std(0).clamp(min=1e-6)
        count = near.sum(0)
        mean = (z * near).sum(0) / count
        spread = (((z - mean).square() * near).sum(0) / (count - 1).clamp(min=1)).sqrt().clamp(min=1e-6)
        self.low.copy_(mean - FAR * spread)
        self.high.copy_(mean + FAR * spread)
        self.context.copy_(self._normal(x.float()))

    def _normal(self, x: Tensor) -> Tensor:
        """[B, K], a missing number being the mean; what is far off is drawn in by the logarithm."""
        z = ((x - self.mean) / self.scale).nan_to_num(0.0).clamp(-EDGE, EDGE)
        z = torch.maximum(self.low - z.abs().log1p(), z)
        return torch.minimum(self.high + z.abs().log1p(), z)

    @torch.no_grad()
    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(signal.values.device.type, enabled=False):
            said_VBO = self._asked(self._normal(signal.values.float()[:, self.kept]))
        pooled = self._numbers(said_VBO) if self.config.levels else self._classes(said_VBO)
        return pooled, pooled[:, None], torch.ones_like(pooled[:, :1], dtype=torch.bool)

    def _asked(self, x_BK: Tensor) -> Tensor:
        """What the network says of rows in each view. What it makes of the context is kept for the next rows."""
        network: Any = self.network
        own = {"device": x_BK.device, "use_amp": False, "use_fa3": False, "offload": False, "use_async": False}
        how = self.settings(COL_CONFIG=own, ROW_CONFIG=own, ICL_CONFIG=own)
        if not network.has_cache:
            targets_VR = self.labels[:, self.targets.long()].float() if self.config.classes else self._standard()
            network.forward_with_cache(self._views(self.context), targets_VR, inference_config=how)
        said: Tensor = network.forward_with_cache(
            X_test=self._views(x_BK), use_cache=True, store_cache=False, inference_config=how
        )
        return said

    def _views(self, x_BK: Tensor) -> Tensor:
        return x_BK[:, self.orders].transpose(0, 1).contiguous()

    def _standard(self) -> Tensor:
        """Targets [V, R] about 0 and of deviation 1, as the network knows them."""
        own = (self.targets - self.targets.mean()) / self._deviation()
        return own.expand(self.config.views, -1).contiguous()

    def _deviation(self) -> Tensor:
        return self.targets.std(correction=0).clamp(min=1e-6)

    def _classes(self, said_VBC: Tensor) -> Tensor:
        """Log-probabilities [B, D] of the mean over views of logits."""
        places = self.labels[:, None].expand_as(said_VBC)
        logits = said_VBC.gather(2, places).mean(0) / COOL
        made = logits.new_full((len(logits), self.dim), IMPOSSIBLE)
        made[:, self.known] = logits.log_softmax(1)
        return made

    def _numbers(self, said_VBQ: Tensor) -> Tensor:
        """The levels [B, D] of the mean over views of quantiles, which stand at 1 / (Q + 1), ..., Q / (Q + 1)."""
        quantiles = said_VBQ.sort(-1).values.mean(0)
        most = quantiles.shape[1] - 1
        place = (quantiles.new_tensor(self.config.levels) * (most + 2) - 1).clamp(0, most)
        below = place.floor().long()
        lower, upper = quantiles[:, below], quantiles[:, (below + 1).clamp(max=most)]
        return (lower + (upper - lower) * (place - below)) * self._deviation() + self.targets.mean()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """What moves or converts it."""
        self._forget()
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local: Any,
        strict: bool,
        missing: Any,
        unexpected: Any,
        errors: list[str],
    ) -> None:
        self._forget()
        errors += [f"{prefix}{own}" for own in self._wrong({name: state_dict.get(f"{prefix}{name}") for name in INDICES})]
        super()._load_from_state_dict(state_dict, prefix, local, strict, missing, unexpected, errors)

    def _wrong(self, given: Mapping[str, Tensor | None]) -> Iterator[str]:
        """What is wrong with places that a file tells; of those of other shapes, or not there, it is said elsewhere."""
        classes = self.config.classes
        for name, own in given.items():
            if own is None or own.shape != getattr(self, name).shape or (name == "targets" and not classes):
                continue
            most = {"kept": self.fields, "orders": self.config.columns, "known": self.dim}.get(name, classes)
            if bool(((own < 0) | (own >= most) | (own != own.long())).any()):
                yield f"{name} holds other numbers than 0 to {most - 1}"
            elif name in {"orders", "labels"} and bool(
                (own.long().sort(1).values != torch.arange(most, device=own.device)).any()
            ):
                yield f"{name} does not hold each of 0 to {most - 1} once in each view"

    def __getstate__(self) -> dict[str, Any]:
        """A copy reads the context anew."""
        self._forget()
        return self.__dict__.copy()

    def _forget(self) -> None:
        network: Any = self.network
        network.clear_cache()


def unaware(network: FusedModel) -> FusedModel | None:
    """The model without such members, of the same modules, for what is taught by train rows: in their context each finds its
    own target, and would be answered by heart. Itself where it has none; None where it has no others."""
    own = {name for name in network.names if isinstance(network.encoder(name), InContext)}
    if not own:
        return network
    heads = network.fusion_head
    each, shares = (heads.each, heads.shares.tolist()) if isinstance(heads, AveragedHeads) else ([heads], [1.0])
    kept = [(head, share) for head, share in zip(each, shares, strict=True) if not own & set(head.names)]
    total = sum(share for _, share in kept)
    if not total:
        return None
    others = AveragedHeads([head for head, _ in kept], [share / total for _, share in kept]).to(heads.temperature.device)
    if isinstance(heads, AveragedHeads):
        others.temperature.copy_(heads.temperature)
    encoders = {name: network.encoder(name) for name in network.names if name not in own}
    made = FusedModel(encoders, others, network.own_heads() or None, network.calibration)
    return made.train(network.training)


def skeleton(config: Network) -> nn.Module:
    """The network, its weights being buffers that hold zeros: nothing of it ever trains.

    Raises:
        ConfigError: the package is missing, or cannot build such a one.
    """
    kind = _package()._model.TabICL
    try:
        with shapes_alone(), _Positions():
            made: nn.Module = kind(**{**config.model_dump(), "dropout": 0.0, "recompute": False})
    except (ValueError, AssertionError, RuntimeError, TypeError, ZeroDivisionError) as error:
        raise ConfigError(f"tabicl builds no network of such a config.json: {error}", "Take that of the checkpoint.") from None
    for module in made.modules():
        lasting = set(module._parameters) | (set(module._buffers) - module._non_persistent_buffers_set)
        for name, own in [*module._parameters.items(), *module._buffers.items()]:
            if own is not None:
                delattr(module, name)
                module.register_buffer(name, torch.zeros(own.shape, dtype=own.dtype), persistent=name in lasting)
    return made.eval()


def _package() -> Any:
    """Raises ConfigError where it is missing, or of a version that is built otherwise."""
    found = need("tabicl", "a model that TabICL is a member of", "tabular")
    if not hasattr(getattr(found, "_model", None), "TabICL"):
        raise ConfigError(
            "the package tabicl that is installed is of a version that mmcli does not know", "pip install 'tabicl>=2.2,<3'"
        )
    return found


class _Positions(TorchFunctionMode):
    """On `meta` rotary positions would make torch import its compiler: they are computed, the rest is not."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        own = {"device": "cpu"} if func in {torch.arange, torch.tensor} else {}
        return func(*args, **{**own, **(kwargs or {})})


def check(config: Network, found: Mapping[str, tuple[int, ...]]) -> None:
    """Holds the shapes of weights against the network's, of which nothing is made for it.

    Raises:
        ConfigError: they are not those of such a network, or the package is missing, or cannot build such a one.
    """
    with shapes_alone():
        wanted = {name: tuple(own.shape) for name, own in skeleton(config).state_dict().items()}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        own, given = wanted.get(wrong[0], "no such tensor"), found.get(wrong[0], "none")
        raise ConfigError(
            f"the weights are not those that config.json tells of: {wrong[0]} is {given}, the network has {own}",
            "Make both of the same checkpoint.",
        )
