"""The whole state of training in one safetensors file: tensors as tensors, the rest as JSON in its header. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mmcli.artifacts.store import write_atomic


def save(path: Path, groups: Mapping[str, Mapping[str, Tensor]], values: Mapping[str, Any]) -> None:
    """Writes groups of named tensors and plain values, whole or not at all."""
    tensors = {f"{group}/{name}": t.detach().cpu().contiguous() for group, named in groups.items() for name, t in named.items()}
    copied = {name: tensor.clone() for name, tensor in tensors.items()}  # safetensors refuses shared memory
    write_atomic(path, safetensors.torch.save(copied, metadata={"values": json.dumps(values)}))


def load(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """What `save` wrote; None where there is nothing."""
    if not path.is_file():
        return None
    groups: dict[str, dict[str, Tensor]] = {}
    with safetensors.safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 - not a dict
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = file.get_tensor(key)
        return groups, json.loads(file.metadata()["values"])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, flat."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{key}": torch.as_tensor(value) for i, entry in state.items() for key, value in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The reverse of `optimizer_tensors`, into an optimizer over the same parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
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
