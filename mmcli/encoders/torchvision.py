"""Networks of torchvision by name, without their classifier: `torchvision:resnet18` (pictures), `torchvision:r3d_18` (clips).

Every classifier that ends in a linear layer will do. The video transformers (`mvit_v1_b`, `mvit_v2_s`) are for 16 frames of
224 x 224: clips are brought to that. torchvision publishes weights as pickles, which mmcli does not load: `--weights` takes a
safetensors file, and timm has the same networks with weights that can be fetched.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.encoders import Backbone
from mmcli.errors import ConfigError, unknown
from mmcli.pretrained import hub
from mmcli.pretrained import weights as pretrained
from mmcli.pretrained.config import BackboneConfig
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 30, "learning_rate": 1e-3, "batch_size": 16, "weight_decay": 0.05, "patience": 10}
VARIANT = "model"
"""The option that what stands behind the colon sets."""
ALIASES = ("r3d_18", "mc3_18", "r2plus1d_18", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b")
"""Video networks, which may be named without the prefix."""
_DEFAULT = {"grid": "resnet18", "clip": "r3d_18"}


class Config(BackboneConfig):
    """Which network."""

    model: str = ""
    """Its name in torchvision; by default resnet18 for pictures and r3d_18 for clips."""


class Torchvision(Backbone):
    """Grid [3, H, W] or clip [T, 3, H, W] -> one token for each cell of the last feature map, where the network pools one; else
    one, the features before the classifier."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"grid", "clip"})

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        name = config.model or _DEFAULT.get(spec.kind, "")
        body, width = _without_classifier(name, spec.kind) if spec.kind in self.kinds else (nn.Identity(), 1)
        super().__init__(config, spec, body, width)
        self.name = name
        self.full_size = (16, 224, 224) if name.startswith("mvit") else None
        pools = [m for m in body.modules() if isinstance(m, nn.AdaptiveAvgPool2d | nn.AdaptiveAvgPool3d)]
        self._map: Tensor | None = None
        if pools:
            pools[-1].register_forward_hook(self._remember)
        if self.absent.is_meta:  # built only to see whether it fits: then also whether the size does
            self._try(spec)

    def _remember(self, _: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> None:
        self._map = inputs[0]

    def _try(self, spec: SignalSpec) -> None:
        signal = Signal(torch.zeros(2, *spec.shape, device="meta"), torch.ones(2, dtype=torch.bool, device="meta"))
        try:
            with torch.no_grad():
                self.eval().run(self.seen(signal))
        except (RuntimeError, AssertionError, ValueError) as error:
            size = " x ".join(map(str, spec.shape[-2:]))
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"--arch torchvision:{self.name} cannot take {size} pixels: {reason}",
                "Preprocess with the size it wants (--image-size 224), or choose another.",
            ) from None

    @classmethod
    def preprocessing(cls, config: Config) -> dict[str, dict[str, Any]]:
        """Size, mean and deviation of the weights that torchvision publishes."""
        import torchvision

        if not config.model:
            raise ConfigError("torchvision wants a network's name here", "E.g. --for image=torchvision:resnet18")
        _known(config.model, torchvision.models.list_models())
        weights = torchvision.models.get_model_weights(config.model).DEFAULT
        wants = weights.transforms()
        said = {"mean": tuple(wants.mean), "std": tuple(wants.std), "size": int(wants.crop_size[0]), "fit": "crop"}
        if "min_temporal_size" not in weights.meta:
            return {"image": {"normalize": "given", **said}}
        return {"video": {**said, "frames": int(weights.meta["min_temporal_size"])}}

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        """What torchvision publishes of the network with its classifier, less the classifier, and the absent embedding."""
        import torchvision

        name = config.model or _DEFAULT[spec.kind]
        meta = torchvision.models.get_model_weights(name).DEFAULT.meta
        with torch.device("meta"):
            _, width = _without_classifier(name, spec.kind)
        return int(meta["num_params"]) - (width + 1) * len(meta["categories"]) + width

    def load(self, weights: str) -> None:
        path = hub.local(weights) if weights != "default" else None
        if path is None:
            raise ConfigError(
                f"--weights {weights}: torchvision publishes the weights of {self.name} as a pickle, which mmcli does not load",
                f"Use --arch timm:{self.name} --weights default, or --weights PATH with a safetensors file.",
            )
        pretrained.put(pretrained.read(path), self.body, str(path))

    def run(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        values = signal.values.float()
        if values.dim() == 5:
            values = values.transpose(1, 2)  # torchvision's video networks want [B, C, T, H, W]
            if self.full_size and tuple(values.shape[2:]) != self.full_size:
                values = F.interpolate(values, self.full_size, mode="trilinear", align_corners=False)
        pooled = self.body(values)
        grid, self._map = self._map, None
        tokens = pooled[:, None] if grid is None or grid.shape[1] != self.dim else grid.flatten(2).transpose(1, 2)
        return pooled, tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=pooled.device)


def _known(name: str, known: list[str], what: str = "torchvision network") -> None:
    if name not in known:
        raise ConfigError(f"--arch torchvision:{name}: {unknown(what, name, known)}")


def _without_classifier(name: str, kind: str) -> tuple[nn.Module, int]:
    import torchvision  # takes two seconds

    module = torchvision.models.video if kind == "clip" else torchvision.models
    _known(name, torchvision.models.list_models(module=module), f"torchvision network for {kind}s")
    options: dict[str, Any] = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    model = torchvision.models.get_model(name, weights=None, **options)
    if hasattr(model, "aux_logits"):
        model.aux_logits, model.aux1, model.aux2, model.AuxLogits = False, None, None, None
    linear = [place for place, module in model.named_modules() if isinstance(module, nn.Linear)]
    last = model.get_submodule(linear[-1]) if linear else None
    if not isinstance(last, nn.Linear) or last.out_features not in {400, 1000}:
        raise ConfigError(f"--arch torchvision:{name}: it does not end in a linear classifier", "Choose another.")
    parent, _, child = linear[-1].rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return model, last.in_features
