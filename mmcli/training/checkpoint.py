"""The whole state of training in one safetensors file: tensors as tensors, the rest as JSON in its header. No pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcli.artifacts import tensors
from mmcli.artifacts.store import write_atomic


def save(path: Path, groups: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]) -> None:
    """Writes groups of named tensors and plain values, whole or not at all, on disk when this returns."""
    named = {f"{group}/{name}": t.detach().cpu().contiguous() for group, own in groups.items() for name, t in own.items()}
    copied = {name: tensor.clone() for name, tensor in named.items()}  # safetensors refuses shared memory
    write_atomic(path, tensors.sealed(copied, values))


def load(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """What `save` wrote; None where there is nothing.

    Raises:
        ValueError: it is damaged.
    """
    if not path.is_file():
        return None
    named, values = tensors.unsealed(path)
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in named.items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = tensor
    return groups, values


def is_whole(path: Path) -> bool:
    """Whether there is a checkpoint from which training can go on."""
    try:
        return load(path) is not None
    except ValueError:
        return False


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, flat."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{key}": torch.as_tensor(value) for i, entry in state.items() for key, value in entry.items()}


def fits(saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    """Whether the saved tensors are those of the network, by name and shape."""
    return {name: tensor.shape for name, tensor in saved.items()} == {name: tensor.shape for name, tensor in own.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Tensor]) -> None:
    """The reverse of `optimizer_tensors`, into an optimizer over the same parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in saved.items():
        i, _, name = key.partition(".")
        own = parameters[int(i)]
        # Laid out as the parameter is: a fused kernel goes through both by their memory.
        state.setdefault(int(i), {})[name] = torch.empty_like(own).copy_(value) if value.shape == own.shape else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """The reverse of `random_state`."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])
