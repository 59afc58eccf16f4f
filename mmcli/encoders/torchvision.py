"""Networks of torchvision by name, without their classifier: `torchvision:resnet18` (pictures), `torchvision:r3d_18` (clips).

Every classifier that ends in a linear layer will do. The video transformers (`mvit_v1_b`, `mvit_v2_s`) are for 16 frames of
224 x 224: clips are brought to that. Weights are drawn at random; nothing is downloaded.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError, unknown
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 30, "learning_rate": 1e-3, "batch_size": 16, "weight_decay": 0.05, "patience": 10}
VARIANT = "model"
"""The option that what stands behind the colon sets."""
ALIASES = ("r3d_18", "mc3_18", "r2plus1d_18", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b")
"""Video networks, which may be named without the prefix."""
_DEFAULT = {"grid": "resnet18", "clip": "r3d_18"}


class Config(BaseConfig):
    """Which network."""

    model: str = ""
    """Its name in torchvision; by default resnet18 for pictures and r3d_18 for clips."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the pooled features."""


class Torchvision(Encoder):
    """Grid [3, H, W] or clip [T, 3, H, W] -> one token, the features before the classifier."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"grid", "clip"})

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        name = config.model or _DEFAULT.get(spec.kind, "")
        body, width = _without_classifier(name, spec.kind) if spec.kind in self.kinds else (nn.Identity(), 1)
        super().__init__(spec, width)
        self.body = body
        self.full_size = (16, 224, 224) if name.startswith("mvit") else None
        self.dropout = nn.Dropout(config.dropout)
        if self.absent.is_meta:  # built only to see whether it fits: then also whether the size does
            self._try(name, spec)

    def _try(self, name: str, spec: SignalSpec) -> None:
        signal = Signal(torch.zeros(2, *spec.shape, device="meta"), torch.ones(2, dtype=torch.bool, device="meta"))
        try:
            with torch.no_grad():
                self.eval().encode(signal)
        except (RuntimeError, AssertionError, ValueError) as error:
            size = " x ".join(map(str, spec.shape[-2:]))
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"--arch torchvision:{name} cannot take {size} pixels: {reason}",
                "Preprocess with the size it wants (--image-size 224), or choose another.",
            ) from None

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        """What torchvision publishes of the network with its classifier, less the classifier, and the absent embedding."""
        import torchvision

        name = config.model or _DEFAULT[spec.kind]
        meta = torchvision.models.get_model_weights(name).DEFAULT.meta
        with torch.device("meta"):
            _, width = _without_classifier(name, spec.kind)
        return int(meta["num_params"]) - (width + 1) * len(meta["categories"]) + width

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        values = signal.values.float()
        if values.dim() == 5:
            values = values.transpose(1, 2)  # torchvision's video networks want [B, C, T, H, W]
            if self.full_size and tuple(values.shape[2:]) != self.full_size:
                values = F.interpolate(values, self.full_size, mode="trilinear", align_corners=False)
        pooled = self.dropout(self.body(values))
        return pooled, pooled[:, None], torch.ones(len(pooled), 1, dtype=torch.bool, device=pooled.device)


def _without_classifier(name: str, kind: str) -> tuple[nn.Module, int]:
    import torchvision  # takes two seconds

    video = torchvision.models.list_models(module=torchvision.models.video)
    images = torchvision.models.list_models(module=torchvision.models)
    known = video if kind == "clip" else images
    if name not in known:
        what = "clips" if kind == "clip" else "pictures"
        raise ConfigError(f"--arch torchvision:{name}: {unknown(f'torchvision network for {what}', name, known)}")
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
