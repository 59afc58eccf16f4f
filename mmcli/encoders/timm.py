"""Networks of timm by name, without their classifier: `timm:convnext_tiny`, with the extra `hub`.

Random weights unless `--weights default` (fetched as safetensors from the hub, or found in its cache) or a path says otherwise.
`mmcli preprocess --for image=timm:NAME` takes over the size, mean and deviation that the weights were trained with.
"""

from __future__ import annotations

import json
import shlex
from typing import Any, ClassVar

import torch
from pydantic import Field
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
    """Its name in timm, with or without the tag of its weights: `vit_small_patch16_224`, `resnet18.a1_in1k`; or a folder with
    config.json, as timm writes it, and safetensors."""
    definition: dict[str, Any] = Field(default_factory=dict)
    """Of a folder: architecture, size, mean and deviation, filled in from its config.json."""


class Timm(Backbone):
    """Grid [3, H, W] -> one token for each cell or patch of the last layer, pooled as the network pools."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"grid"})

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        config = self.resolve(config)
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
                self.eval().run(self.seen(Signal(values, torch.ones(2, dtype=torch.bool, device="meta"))))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise ConfigError(
                f"--arch timm:{self.config.model} cannot take {' x '.join(map(str, spec.shape[1:]))} pixels: "
                f"{str(error).splitlines()[0]}",
                f"Preprocess for it: mmcli preprocess TABLE --for {shlex.quote(f'image=timm:{self.config.model}')}",
            ) from None

    @classmethod
    def resolve(cls, config: Config) -> Config:
        """With what the folder's config.json says, where it is named by one."""
        folder = hub.local(config.model) if "/" in config.model and not config.definition else None
        if folder is None:
            return config
        try:
            said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            own = {**said, **said.get("pretrained_cfg", {})}
            told = {"architecture": str(said["architecture"]), "size": int(own["input_size"][-1])}
            told |= {key: [float(number) for number in own[key]] for key in ("mean", "std")}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"--arch timm:{config.model}: {folder / 'config.json'} does not tell architecture, input_size, mean and std "
                f"as timm writes them ({type(error).__name__}: {error})",
                "Give the folder of a saved model, or the name of a network.",
            ) from None
        return config.model_copy(update={"definition": told})

    @classmethod
    def preprocessing(cls, config: Config) -> dict[str, dict[str, Any]]:
        """Size, mean and deviation of the weights' own training."""
        config = cls.resolve(config)
        if own := config.definition:
            given = {"mean": tuple(own["mean"]), "std": tuple(own["std"]), "size": own["size"]}
            return {"image": {"normalize": "given", "fit": "crop", **given}}
        timm = _timm(config)
        wants = timm.get_pretrained_cfg(config.model) or timm.create_model(config.model).pretrained_cfg
        wants = wants if isinstance(wants, dict) else vars(wants)
        said = {"mean": tuple(wants["mean"]), "std": tuple(wants["std"]), "size": int(wants["input_size"][-1])}
        return {"image": {"normalize": "given", "fit": "crop", **said}}

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:  # noqa: ARG004 - whatever the size
        """What timm counts of the network with a classifier of ten, less the classifier, and the absent embedding."""
        config = Timm.resolve(config)
        timm = _timm(config)
        with torch.device("meta"):
            model = timm.create_model(_name(config), num_classes=10)
        width = model.get_classifier().in_features
        return int(sum(p.numel() for p in model.parameters()) - 10 * (width + 1) + width)

    def load(self, weights: str) -> None:
        named = self.config.model if weights == "default" and self.config.definition else weights
        path = hub.local(named) if named != "default" else None
        if path is None:
            path = hub.fetch(self._repository(), ("model.safetensors", hub.CARD))
        pretrained.put(pretrained.read(path), self.body, str(path))

    def origin(self) -> Origin | None:
        published = self.config.weights == "default" and not self.config.definition
        return licences.of_hub(self._repository()) if published else super().origin()

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
    name = _name(config)
    if not timm.is_model(name):
        raise ConfigError(f"--arch timm:{config.model}: {unknown('timm network', name, timm.list_models())}")
    return timm


def _name(config: Config) -> str:
    """What timm calls the network."""
    return str(config.definition.get("architecture", config.model))


def _body(config: Config, spec: SignalSpec) -> nn.Module:
    timm = _timm(config)
    size = config.conversion.get("size", spec.shape[-1])
    try:
        body: nn.Module = timm.create_model(_name(config), pretrained=False, num_classes=0, img_size=size)
    except TypeError:  # networks of any size do not take one
        body = timm.create_model(_name(config), pretrained=False, num_classes=0)
    return body
