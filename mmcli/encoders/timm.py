"""Networks of timm by name, without their classifier: `timm:convnext_tiny`, with the extra `hub`.

Random weights unless `--weights default` (fetched as safetensors from the hub, or found in its cache) or a path says otherwise.
`mmcli preprocess --for image=timm:NAME` takes over the size, mean and deviation that the weights were trained with.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmcli.encoders import Backbone
from mmcli.errors import ConfigError, unknown
from mmcli.pretrained import hub, licences
from mmcli.pretrained import weights as pretrained
from mmcli.pretrained.config import BackboneConfig
from mmcli.pretrained.licences import Origin
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 30, "learning_rate": 1e-3, "batch_size": 16, "weight_decay": 0.05, "patience": 10}
VARIANT = "model"


class Config(BackboneConfig):
    """Which network."""

    model: str = "resnet10t"
    """Its name in timm, with or without the tag of its weights: `vit_small_patch16_224`, `resnet18.a1_in1k`."""


class Timm(Backbone):
    """Grid [3, H, W] -> one token for each cell or patch of the last layer, pooled as the network pools."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"grid"})

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        body = _body(config, spec) if spec.kind in self.kinds else nn.Identity()
        super().__init__(config, spec, body, int(getattr(body, "head_hidden_size", 0) or getattr(body, "num_features", 1)))
        self.config: Config = config
        self.first_last = spec.kind == "grid" and getattr(body, "output_fmt", "") == "NHWC"
        if self.absent.is_meta and spec.kind in self.kinds:
            self._try(spec)

    def _try(self, spec: SignalSpec) -> None:
        values = torch.zeros(2, *spec.shape, device="meta")
        try:
            with torch.no_grad():
                self.eval().run(Signal(values, torch.ones(2, dtype=torch.bool, device="meta")))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise ConfigError(
                f"--arch timm:{self.config.model} cannot take {' x '.join(map(str, spec.shape[1:]))} pixels: "
                f"{str(error).splitlines()[0]}",
                f"Preprocess for it: mmcli preprocess TABLE --for image=timm:{self.config.model}",
            ) from None

    @classmethod
    def preprocessing(cls, config: Config) -> dict[str, dict[str, Any]]:
        """Size, mean and deviation of the weights' own training."""
        timm = _timm(config)
        wants = timm.get_pretrained_cfg(config.model) or timm.create_model(config.model).pretrained_cfg
        wants = wants if isinstance(wants, dict) else vars(wants)
        said = {"mean": tuple(wants["mean"]), "std": tuple(wants["std"]), "size": int(wants["input_size"][-1])}
        return {"image": {"normalize": "given", "fit": "crop", **said}}

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:  # noqa: ARG004 - whatever the size
        """What timm counts of the network with a classifier of ten, less the classifier, and the absent embedding."""
        timm = _timm(config)
        with torch.device("meta"):
            model = timm.create_model(config.model, num_classes=10)
        width = model.get_classifier().in_features
        return int(sum(p.numel() for p in model.parameters()) - 10 * (width + 1) + width)

    def load(self, weights: str) -> None:
        path = hub.local(weights) if weights != "default" else None
        if path is None:
            path = hub.fetch(self._repository(), ("model.safetensors", hub.CARD))
        pretrained.put(pretrained.read(path), self.body, str(path))

    def origin(self) -> Origin | None:
        return licences.of_hub(self._repository()) if self.config.weights == "default" else super().origin()

    def _repository(self) -> str:
        """Where timm publishes its weights on the hub."""
        name = getattr(_timm(self.config).get_pretrained_cfg(self.config.model), "hf_hub_id", None)
        if not name:
            raise ConfigError(f"timm publishes no weights of {self.config.model}", "Give --weights PATH.")
        return str(name)

    def run(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        grid = self.body.forward_features(signal.values.float())  # type: ignore[operator]
        pooled: Tensor = self.body.forward_head(grid, pre_logits=True)  # type: ignore[operator]
        tokens = grid
        if grid.dim() == 4:
            tokens = grid.flatten(1, 2) if self.first_last else grid.flatten(2).transpose(1, 2)
        if tokens.shape[-1] != self.dim:
            tokens = pooled[:, None]
        return pooled, tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=pooled.device)


def _timm(config: Config) -> Any:
    timm = hub.need("timm", f"--arch timm:{config.model}")
    if not timm.is_model(config.model):
        raise ConfigError(f"--arch timm:{config.model}: {unknown('timm network', config.model, timm.list_models())}")
    return timm


def _body(config: Config, spec: SignalSpec) -> nn.Module:
    timm = _timm(config)
    try:
        body: nn.Module = timm.create_model(config.model, pretrained=False, num_classes=0, img_size=spec.shape[-1])
    except TypeError:  # networks of any size do not take one
        body = timm.create_model(config.model, pretrained=False, num_classes=0)
    return body
