"""Tensors on disk, as safetensors. Nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mmcli.artifacts.store import write_atomic
from mmcli.errors import ArtifactError
from mmcli.signals import Column


def save(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Writes the tensors, whole or not at all; gives their shapes and dtypes for the manifest."""
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    write_atomic(path, safetensors.torch.save(plain))
    return {name: [str(t.dtype).removeprefix("torch."), *t.shape] for name, t in plain.items()}


def load(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a file.

    Raises:
        ArtifactError: it is not a whole safetensors file.
    """
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is not a readable safetensors file: {error}", "Make the artifact again.") from None


def column_tensors(column: Column) -> dict[str, Tensor]:
    """A column as named tensors: values, present and, where it has them, offsets and times."""
    tensors = {"values": column.values, "present": column.present, "offsets": column.offsets, "times": column.times}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def column_from(tensors: Mapping[str, Tensor]) -> Column:
    """The reverse of `column_tensors`."""
    present = tensors["present"].to(torch.bool)
    return Column(tensors["values"], present, tensors.get("offsets"), tensors.get("times"))
