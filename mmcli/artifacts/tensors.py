"""Tensors on disk, as safetensors. Nothing is ever unpickled.

What no manifest vouches for yet (shards of a partial, checkpoints, trials of a search) is sealed: its own header holds the
sha256 of its tensors and values, which is checked before they are used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mmcli.artifacts import disk
from mmcli.artifacts.store import Artifact, write_atomic
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
    with disk.opened(path) as file:
        file.write(bytes(HEADER))
        grown = Growing(name, file)
        yield grown
        entry = {"dtype": grown.dtype, "shape": grown.shape, "data_offsets": [0, file.tell() - HEADER]}
        header = json.dumps({name: entry}).encode().ljust(HEADER - 8)
        file.seek(0)
        file.write((HEADER - 8).to_bytes(8, "little") + header)


def load(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a file.

    Raises:
        ArtifactError: it is not a whole safetensors file.
    """
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is not a readable safetensors file: {error}", "Make the artifact again.") from None


def sealed(named: Mapping[str, Tensor], values: Any) -> bytes:
    """The file of tensors and plain values with the sha256 of them all."""
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in named.items()}
    text = json.dumps(values, ensure_ascii=False)
    # One entry, since safetensors writes several in no fixed order.
    header = {"sealed": json.dumps([_digest(plain, text), text], ensure_ascii=False)}
    return safetensors.torch.save(plain, metadata=header)


def values_of(path: Path) -> Any:
    """The plain values of a sealed file, from its header alone: not checked yet.

    Raises:
        ValueError: it is no sealed file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return _values(file.metadata())[1]
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(str(error)) from None


def unsealed(path: Path) -> tuple[dict[str, Tensor], Any]:
    """The tensors and values of a sealed file.

    Raises:
        ValueError: it is damaged, or no sealed file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            (told, text), values = _values(file.metadata())
            named = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(str(error)) from None
    if _digest(named, text) != told:
        raise ValueError("its sha256 is not the one that it was written with")
    return named, values


def _values(header: Mapping[str, str] | None) -> tuple[tuple[str, str], Any]:
    try:
        told, text = json.loads((header or {})["sealed"])
        return (told, text), json.loads(text)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError("it is not sealed") from None


def _digest(named: Mapping[str, Tensor], text: str) -> str:
    found = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name in sorted(named):
        tensor = named[name]
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def of(artifact: Artifact, relative: str) -> dict[str, Tensor]:
    """The tensors of one of an artifact's files, which is checked.

    Raises:
        ArtifactError: it is damaged, or holds no tensors; says what to run.
    """
    path = artifact.file(relative)
    with artifact.understood(relative):
        return safetensors.torch.load_file(path)


def column_tensors(column: Column) -> dict[str, Tensor]:
    """A column as named tensors: values, present and, where it has them, offsets and times."""
    tensors = {"values": column.values, "present": column.present, "offsets": column.offsets, "times": column.times}
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def column_from(tensors: Mapping[str, Tensor]) -> Column:
    """The reverse of `column_tensors`."""
    present = tensors["present"].to(torch.bool)
    return Column(tensors["values"], present, tensors.get("offsets"), tensors.get("times"))
