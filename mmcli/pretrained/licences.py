"""Under which licence weights of others come, as far as they tell: a model card, their own metadata, a file beside them.

Nothing is fetched for it, and nothing judged: what is not told is `unknown`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import safetensors

from mmcli.pretrained import hub

UNKNOWN = "unknown"
OTHERS = "weights_of_others"
"""Where a manifest's metrics tell it: a list of names with their licences."""
_MOST_BYTES = 1 << 18
_LONGEST = 80
_FRONT = re.compile(r"\A\ufeff?---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.S)
_FIELD = re.compile(r"^(license|license_name)[ \t]*:[ \t]*(.*?)[ \t]*$", re.M)
_BESIDE = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "COPYING")
_GENERIC = frozenset({"model", "models", "weights", "checkpoint", "model.safetensors", "model.onnx"})
"""Names that say nothing."""
_KNOWN = (
    (r"apache license,?\s+version 2", "apache-2.0"),
    (r"gnu affero general public license\s+version 3", "agpl-3.0"),
    (r"gnu lesser general public license\s+version 3", "lgpl-3.0"),
    (r"gnu general public license\s+version 3", "gpl-3.0"),
    (r"gnu general public license\s+version 2", "gpl-2.0"),
    (r"mozilla public license,?\s+version 2", "mpl-2.0"),
    (r"attribution-noncommercial 4\.0 international", "cc-by-nc-4.0"),
    (r"attribution 4\.0 international", "cc-by-4.0"),
    (r"permission is hereby granted, free of charge", "mit"),
    (r"neither the name of .{1,200}? may be used to endorse", "bsd-3-clause"),
    (r"redistribution and use in source and binary forms", "bsd-2-clause"),
)
"""How the texts of usual licences are told by their words -> their SPDX names, the narrower ones first."""


@dataclass(frozen=True)
class Origin:
    """Weights of others."""

    name: str
    """Their name on the hub, or that of their file or folder."""
    licence: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def origin(config: Any) -> Origin | None:
    """Where the weights of an encoder with that config are from; None where they begin at random.

    Raises:
        ConfigError: there is no such file or folder.
    """
    told = getattr(config, "weights", "none")
    if told == "none":
        return None
    name = str(getattr(config, "model", "")) if told == "default" else str(told)
    found = hub.local(name) if told != "default" or "/" in name else None
    return of_hub(name) if found is None else of_path(found)


def of_hub(name: str) -> Origin:
    """Weights of a repository, as far as it lies in the hub's cache."""
    found = hub.cached(name)
    return Origin(name, licence(found) if found else UNKNOWN)


def of_path(path: Path) -> Origin:
    """Weights in a file or a folder."""
    return Origin(_named(path), licence(path))


def licence(path: Path) -> str:
    """The licence of a file or of the weights in a folder, in a word where it is a usual one."""
    folder = path if path.is_dir() else path.parent
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))[:1]
    said = [_of_metadata(file) for file in files]
    told = [*(said if path.is_file() else []), _of_card(folder / "README.md"), *said, _of_text(folder), _of_package(folder)]
    return next(filter(None, told), UNKNOWN)


def _named(path: Path) -> str:
    """What weights are called: the repository in the hub's cache, the package that brings them, else their file or folder."""
    place = path.resolve()
    for own in place.parents:
        if own.name.startswith("models--"):
            return own.name.removeprefix("models--").replace("--", "/")
    package = _package(place)
    if package:
        return package
    return "/".join(place.parts[-2:]) if place.name in _GENERIC else place.name


def _package(place: Path) -> str:
    """The distribution in whose folder something lies; empty where in none."""
    above = next((own for own in place.parents if own.name in {"site-packages", "dist-packages"}), None)
    if above is None:
        return ""
    return next(iter(distributions().get(place.relative_to(above).parts[0], [])), "")


@functools.cache
def distributions() -> Mapping[str, list[str]]:
    """Module -> the distributions that bring it, of all that is installed, which is read once: there may be hundreds."""
    return metadata.packages_distributions()


def _of_card(path: Path) -> str:
    """From the front matter of a model card (YAML between two lines of dashes)."""
    front = _FRONT.match(_read(path))
    fields = {name: value.strip("\"' ") for name, value in _FIELD.findall(front[1])} if front else {}
    own = fields.get("license", "")
    return _short(fields.get("license_name") or own if own.lower() == "other" else own)


def _of_metadata(path: Path) -> str:
    """From what a safetensors or ONNX file says of itself."""
    found: dict[str, Any] = {}
    if path.suffix == ".safetensors":
        try:
            with safetensors.safe_open(path, "numpy") as file:
                found = file.metadata() or {}
        except (safetensors.SafetensorError, OSError):
            return ""
    elif path.suffix == ".onnx":
        found = dict(_properties(path))
    lower = {str(key).lower(): str(value) for key, value in found.items()}
    return _short(lower.get("license") or lower.get("licence") or "")


def _properties(path: Path) -> Iterator[tuple[str, str]]:
    """The metadata of an ONNX file: field 14 of its message, pairs of a key (1) and a value (2)."""
    try:
        data = memoryview(path.read_bytes())
        for field, value in _fields(data):
            if field == 14:
                own = {number: bytes(part).decode("utf-8", "replace") for number, part in _fields(value)}
                yield own.get(1, ""), own.get(2, "")
    except (OSError, ValueError, IndexError):
        return


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of a protobuf message that have a length, in order; the others are passed over.

    Raises:
        ValueError, IndexError: it is none.
    """
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == 0:
            _, place = _varint(data, place)
        elif kind == 2:
            size, place = _varint(data, place)
            if place + size > len(data):
                raise ValueError("it is cut off")
            yield tag >> 3, data[place : place + size]
            place += size
        elif kind in {1, 5}:
            place += 8 if kind == 1 else 4
        else:
            raise ValueError("it is no message")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    found = shift = 0
    while shift < 70:
        byte = data[place]
        found |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return found, place
    raise ValueError("a number without end")


def _of_text(folder: Path) -> str:
    """From the text of a licence that lies beside: its name, else its first line."""
    text = next((own for name in _BESIDE if (own := _read(folder / name))), "")
    plain = " ".join(text.split())
    for pattern, name in _KNOWN:
        if re.search(pattern, plain, re.I):
            return name
    return _short(next((line.strip("# ") for line in text.splitlines() if line.strip("# ")), ""))


def _of_package(folder: Path) -> str:
    """Of a folder in an installed package, what the package says of itself."""
    package = _package(folder.resolve())
    told = metadata.metadata(package).json if package else {}
    return _short(str(told.get("license_expression") or told.get("license") or ""))


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…"


def _read(path: Path) -> str:
    """The beginning of a text file; empty where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
