"""Tensors on disk, as safetensors. Nothing is ever unpickled."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

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


HEADER = 512
"""Bytes kept free for the header of a file that grows."""


@dataclass
class Growing:
    """A file of one tensor, to which rows are added as they are made: they are never all in memory."""

    name: str
    file: BinaryIO
    shape: list[int] = field(default_factory=list)
    """Of all that was added."""
    dtype: str = ""
    """As safetensors calls it."""

    def add(self, rows: Tensor) -> None:
        """Appends rows [n, ...], all of one shape and dtype."""
        rows = rows.detach().to("cpu").contiguous()
        written = safetensors.torch.save({self.name: rows})
        length = int.from_bytes(written[:8], "little")
        self.dtype = json.loads(written[8 : 8 + length])[self.name]["dtype"]
        self.shape = [(self.shape[0] if self.shape else 0) + len(rows), *rows.shape[1:]]
        self.file.write(memoryview(written)[8 + length :])


@contextmanager
def growing(path: Path, name: str) -> Iterator[Growing]:
    """A safetensors file of the tensor `name`, which takes its name when all rows are added: it is whole or not there."""
    temporary = path.with_name(f"{path.name}.writing")
    with temporary.open("wb") as file:
        file.write(bytes(HEADER))
        grown = Growing(name, file)
        yield grown
        entry = {"dtype": grown.dtype, "shape": grown.shape, "data_offsets": [0, file.tell() - HEADER]}
        header = json.dumps({name: entry}).encode().ljust(HEADER - 8)
        file.seek(0)
        file.write((HEADER - 8).to_bytes(8, "little") + header)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


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
