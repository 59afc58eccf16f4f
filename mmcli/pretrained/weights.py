"""Pretrained weights: found, read without unpickling, put into a network, and tuned whole, in part or by low-rank additions.

Knows networks as modules with named parameters; nothing of encoders, columns or training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from mmcli.artifacts import store
from mmcli.errors import ConfigError
from mmcli.pretrained.hub import local, need
from mmcli.pretrained.pickles import PICKLES, conversion


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of all in a folder.

    Raises:
        ConfigError: there is none, or only pickles, which are never loaded.
    """
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    pickles = sorted(p for p in path.iterdir() if p.suffix in PICKLES) if path.is_dir() else []
    if path.suffix in PICKLES or (not files and pickles):
        pickle = path if path.is_file() else pickles[0]
        raise ConfigError(
            f"{pickle} is a pickle: loading it could run any program, so mmcli does not",
            conversion(pickle),
        )
    if not files:
        raise ConfigError(f"{path} holds no .safetensors file", "Give a safetensors file, or a folder with one.")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= safetensors.torch.load_file(file)
        except (safetensors.SafetensorError, OSError) as error:
            raise ConfigError(f"{file} is not a readable safetensors file: {error}") from None
    return tensors


def put(tensors: Mapping[str, Tensor], body: nn.Module, origin: str) -> None:
    """Puts tensors into a network by name; what the network lacks (its old classifier) is left out, low-rank additions stay.

    Raises:
        ConfigError: a tensor is missing or has another shape.
    """
    own = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in body.state_dict().items()
        if ".lora_" not in name and not name.endswith("num_batches_tracked")
    }
    prefix = _prefix(tensors, own)
    named = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    missing = [name for name in own if name not in named]
    if missing:
        raise ConfigError(
            f"{origin} lacks {len(missing)} of the {len(own)} tensors of the network, {missing[0]} the first of them",
            "Give weights of this very architecture.",
        )
    for name, tensor in own.items():
        if named[name].shape != tensor.shape:
            raise ConfigError(
                f"{origin}: {name} has the shape {list(named[name].shape)}, the network wants {list(tensor.shape)}",
                "Give weights of this very architecture.",
            )
        with torch.no_grad():
            tensor.copy_(named[name])


def _prefix(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """What stands before the network's own names in a file: of the usual ones, that under which most are found."""
    usual = ("", "module.", "model.", "body.", "encoder.body.", "backbone.")
    return max(usual, key=lambda prefix: sum(prefix + name in tensors for name in own))


def blocks(body: nn.Module) -> list[str]:
    """The names of a network's blocks in order: the outermost elements of its lists and sequences that hold parameters."""
    found: list[str] = []
    for name, module in body.named_modules():
        if isinstance(module, nn.ModuleList | nn.Sequential) and not any(name.startswith(f"{b}.") for b in found):
            for child_name, child in module.named_children():
                full = f"{name}.{child_name}" if name else child_name
                if next(child.parameters(), None) is not None and full not in found:
                    found.append(full)
    return [b for b in found if not any(b != other and b.startswith(f"{other}.") for other in found)]


def depths(body: nn.Module) -> dict[str, int]:
    """Parameter -> how many blocks, itself included, lie from it to the output: 0 for what follows the last block."""
    order = blocks(body)
    place, found = -1, {}
    for name, _ in body.named_parameters():
        inside = next((i for i, block in enumerate(order) if name.startswith(f"{block}.")), None)
        place = place if inside is None else inside
        last_is_over = inside is None and place == len(order) - 1
        found[name] = 0 if last_is_over else len(order) - max(place, -1)
    return found


def tune(body: nn.Module, how: str, rank: int) -> nn.Module:
    """The network with only those parameters trainable that `how` names: full, head (none), last-N (blocks), or lora.

    LoRA (Hu et al. 2021): every linear layer gets a product of two matrices of that rank beside it, by peft.
    """
    if how == "full":
        return body
    if how == "lora":
        peft = need("peft", "--tune lora")
        linear = [name for name, module in body.named_modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise ConfigError("--tune lora: the network has no linear layers to add to", "Use --tune last-2.")
        adapted: nn.Module = peft.inject_adapter_in_model(
            peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear, lora_dropout=0.0), body
        )
        return adapted
    kept = int(how.removeprefix("last-")) if how.startswith("last-") else -1
    depth = depths(body)
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(depth[name] <= kept)
    return body


def hold_still(body: nn.Module) -> None:
    """Sets to evaluation what does not train: frozen blocks drop nothing out, nor does what stands before them, and their
    running statistics stay."""
    trains = {name for name in blocks(body) if any(own.requires_grad for own in body.get_submodule(name).parameters())}
    before = bool(trains) and blocks(body)[0] not in trains
    for name, module in body.named_modules():
        before = before and name not in trains
        own = list(module.parameters())
        if not any(parameter.requires_grad for parameter in own) and (own or before):
            module.eval()


def rates(body: nn.Module, decay: float) -> Iterator[tuple[str, float]]:
    """(parameter, factor on the learning rate): `decay` to the power of its depth, so that early layers change least."""
    for name, depth in depths(body).items():
        yield name, 1.0 if ".lora_" in name else decay**depth


_TRAINING: dict[str, dict[str, Any]] = {
    "head": {"epochs": 60, "learning_rate": 3e-3, "batch_size": 64, "patience": 15},
    "last": {"epochs": 15, "learning_rate": 1e-3, "batch_size": 64, "patience": 5},
    "lora": {"epochs": 15, "learning_rate": 1e-3, "batch_size": 16, "patience": 5},
    "full": {"epochs": 15, "learning_rate": 3e-4, "batch_size": 16, "patience": 5},
}


def training(how: str) -> dict[str, Any]:
    """How a pretrained network is trained by default when so tuned."""
    return _TRAINING[how.partition("-")[0]]


def digest(config: Any) -> str:
    """What the weights that a config starts from are told by: their content, or their name on the hub; empty where random."""
    if getattr(config, "weights", "none") == "none":
        return ""
    name = getattr(config, "model", "") if config.weights == "default" else config.weights
    found = local(name) if config.weights != "default" or "/" in name else None
    if found is None:
        return f"hub:{name}"
    files = sorted(found.glob("*.safetensors")) if found.is_dir() else [found]
    return "+".join(store.file_digest(file) for file in files)
