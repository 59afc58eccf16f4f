"""The one place where an artifact's manifest is read: its JSON, the types of its fields, its seal. Gives plain data, or says
what is wrong. Knows each kind's outer shape as docs/artifacts.md has it; what options mean is checked where they are used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mmcli.reporting import strict

MANIFEST = "artifact.json"
FORMAT_VERSION = 7
LARGEST = 256 << 20
"""Bytes of a JSON file of an artifact, above which it is not read."""


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


class _File(_Shape):
    bytes: int = Field(ge=0)
    sha256: str
    tensors: dict[str, list[str | int]] = {}
    fleeting: bool = False


class _Manifest(_Shape):
    name: str
    kind: str
    format_version: int
    command: str
    config: dict[str, Any]
    seed: int
    parents: dict[str, str]
    fingerprint: str
    files: dict[str, _File]
    metrics: dict[str, Any]
    measured: list[str]
    hash: str
    parts: dict[str, str]
    seconds: float
    created: str
    versions: dict[str, str]
    seal: str


class _Part(_Shape):
    name: str
    config: dict[str, Any]


class _Choice(_Shape):
    input: str
    owner: str = ""
    architecture: str
    encoder: dict[str, Any]
    head: _Part | None = None
    solved: bool = False
    fold: int = Field(1, ge=0, le=999)

    @model_validator(mode="after")
    def _a_head_unless_solved(self) -> Self:
        if (self.head is None) != self.solved:
            raise ValueError("head: one of those that are not solved, and of no other")
        return self


class _Member(_Shape):
    method: str
    fusion: dict[str, Any]
    encoders: list[str]
    decisions: bool


class _Recipe(_Shape):
    encoders: dict[str, _Choice]
    members: list[_Member] = Field(min_length=1)
    head: _Part
    modality_dropout: float
    calibration: str
    calibration_shape: list[int]
    slim: bool


class _Scores(_Shape):
    primary_metric: str
    higher_is_better: bool
    val: dict[str, float]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if missing := {self.primary_metric, "loss"} - set(self.val):
            raise ValueError(f"val lacks {sorted(missing)[0]!r}")
        return self


class _OfReader(_Shape):
    """Of an input that reads a shared encoder: its own scores; or, where the columns are compared, what it tells alone."""

    val: dict[str, float] | None = None
    train: dict[str, float] | None = None
    alone: dict[str, float] | None = None


class _ScoresOfEncoder(_Scores):
    readers: dict[str, _OfReader] = {}

    @model_validator(mode="after")
    def _each_complete(self) -> Self:
        for name, own in self.readers.items():
            if own.val is not None and {self.primary_metric, "loss"} - set(own.val):
                raise ValueError(f"val of the reader {name!r} lacks {self.primary_metric!r} or 'loss'")
        return self


class _OfTuned(_Scores):
    picked: str
    before: dict[str, Any]
    after: dict[str, Any]
    history: list[dict[str, Any]]
    steps: dict[str, Any]
    conformal: dict[str, Any]


class _Training(_Shape):
    decisions: bool
    modality_dropout: float


class _Schema(_Shape):
    inputs: dict[str, list[str]]
    shares: dict[str, str] = {}

    @model_validator(mode="after")
    def _of_inputs(self) -> Self:
        for reader, owner in self.shares.items():
            if not {reader, owner} <= set(self.inputs) or reader == owner or owner in self.shares:
                raise ValueError(f"{reader!r} cannot read the encoder of {owner!r}")
        return self


class _OfPreprocess(_Shape):
    schema_: _Schema = Field(alias="schema")


class _OfEncoder(_Shape):
    column: str
    architecture: str
    encoder: dict[str, Any]
    head: _Part
    readers: list[str] = []

    @model_validator(mode="after")
    def _owner_first(self) -> Self:
        if self.readers and (self.readers[0] != self.column or len(set(self.readers)) != len(self.readers)):
            raise ValueError("its readers are not its column and others")
        return self


class _OfFusion(_Shape):
    method: str
    fusion: dict[str, Any]
    encoders: dict[str, _Choice] = Field(min_length=1)
    head: _Part
    trained_encoders: bool
    solved: dict[str, dict[str, _Choice]] = {}
    training: _Training
    seeds: list[int] = Field(min_length=1)


class _OfOptimized(_OfFusion):
    base: str
    recipe: _Recipe
    way: str
    picked: str


class _OfFolded(_OfFusion):
    base: str
    recipe: _Recipe
    folds: list[int] = Field(min_length=1)

    @model_validator(mode="after")
    def _a_fold_for_each(self) -> Self:
        if len(self.folds) != len(self.recipe.members) or min(self.folds) < 1:
            raise ValueError("folds: not one, from 1, for each member of the recipe")
        return self


class _ScoresOfFolded(_Scores):
    chosen: bool
    wrong: list[int]
    out_of_fold: dict[str, Any]


class _OfRefit(_OfFusion):
    base: str
    recipe: _Recipe


class _FiguresOfRefit(_Shape):
    primary_metric: str
    higher_is_better: bool
    val: dict[str, float]
    """Empty where all rows of val were trained on."""
    estimated: float
    rows: int = Field(ge=1)
    cost: dict[str, float]

    @model_validator(mode="after")
    def _all_or_nothing(self) -> Self:
        if self.val and (missing := {self.primary_metric, "loss"} - set(self.val)):
            raise ValueError(f"val lacks {sorted(missing)[0]!r}")
        return self


class _OfGallery(_Shape):
    model: str
    width: int = Field(ge=1)
    tables: list[str]
    columns: list[str]
    removed: list[str]
    index: bool
    told: list[list[str]] = []


class _FiguresOfGallery(_Shape):
    rows: int = Field(ge=0)
    names: int = Field(ge=0)


CONFIGS: Mapping[str, type[_Shape]] = {
    "preprocess": _OfPreprocess,
    "encoder": _OfEncoder,
    "fusion": _OfFusion,
    "folded": _OfFolded,
    "refit": _OfRefit,
    "optimized": _OfOptimized,
    "gallery": _OfGallery,
}
METRICS: Mapping[str, type[_Shape]] = {
    "encoder": _ScoresOfEncoder,
    "fusion": _Scores,
    "folded": _ScoresOfFolded,
    "refit": _FiguresOfRefit,
    "optimized": _OfTuned,
    "gallery": _FiguresOfGallery,
}


def digest(value: Any) -> str:
    """sha256 of a JSON value in canonical form: for fingerprints and content hashes."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def seal(manifest: Mapping[str, Any]) -> str:
    """sha256 over all that a manifest says."""
    return digest({key: value for key, value in manifest.items() if key != "seal"})


def content_hash(manifest: Mapping[str, Any]) -> str:
    """sha256 over what an artifact is, without what was measured by a clock: name, kind, config, metrics and files."""
    metrics = {key: value for key, value in manifest["metrics"].items() if key not in manifest["measured"]}
    return digest([manifest["name"], manifest["kind"], manifest["config"], metrics, lasting(manifest["files"])])


def lasting(files: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The sha256 of each file that equal runs make alike."""
    return {file: entry["sha256"] for file, entry in files.items() if not entry.get("fleeting")}


def parse(data: bytes) -> Any:
    """JSON from a file of an artifact.

    Raises:
        ValueError: it is none, it is too large or nested too deeply.
    """
    if len(data) > LARGEST:
        raise ValueError(f"{len(data):,} bytes of JSON are more than the {LARGEST:,} that are read")
    try:
        found = json.loads(data.decode("utf-8"))
        if b"\\ud" in data.lower():
            json.dumps(found, ensure_ascii=False).encode()  # half a character is none
        return found
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def of(path: Path, name: str) -> dict[str, Any]:
    """The manifest in the folder of the artifact `name`, its types and its seal checked.

    Raises:
        ValueError: it is not a manifest of this format, or not as it was sealed; says where.
        OSError: there is none that can be read.
    """
    with (path / MANIFEST).open("rb") as file:
        manifest = parse(file.read(LARGEST + 1))
    try:
        return _checked(manifest, name)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _checked(manifest: Any, name: str) -> dict[str, Any]:
    if not isinstance(manifest, dict) or "kind" not in manifest:
        raise ValueError("not a manifest")
    if manifest.setdefault("format_version", 0) != FORMAT_VERSION:
        return manifest  # the reader says which version it is of
    _shaped(_Manifest, manifest, "")
    if seal(manifest) != manifest["seal"]:
        raise ValueError("it is not as it was sealed")
    if content_hash(manifest) != manifest["hash"]:
        raise ValueError("its hash is not that of what it lists")
    manifest["metrics"] = strict.numbers(manifest["metrics"])
    if manifest["name"] != name:
        raise ValueError(f"it is that of {manifest['name']}, copied under another name")
    for where, shapes in (("config", CONFIGS), ("metrics", METRICS)):
        if manifest["kind"] in shapes:
            _shaped(shapes[manifest["kind"]], manifest[where], where)
    if manifest["kind"] == "encoder":
        wanted, told = (set(manifest[where].get("readers", ())) for where in ("config", "metrics"))
        if wanted != told:
            raise ValueError(f"metrics.readers: they are not those of config.readers: {', '.join(sorted(wanted ^ told))}")
    for file in manifest["files"]:
        if not inside(file):
            raise ValueError(f"it names the file {file!r}, which is not of its folder")
    for parent in manifest["parents"]:
        if not inside(parent.partition("#")[0]):
            raise ValueError(f"it names the parent {parent!r}, which is no artifact")
    return manifest


def inside(relative: str) -> bool:
    """Whether a name of a file stays below the folder that it is taken from."""
    parts = PurePosixPath(relative).parts
    return bool(parts) and relative == "/".join(parts) and not {"..", "/"} & set(parts) and not {"\0", "\\"} & set(relative)


def _shaped(shape: type[_Shape], value: Any, where: str) -> None:
    try:
        shape.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join([*filter(None, [where]), *map(str, problem["loc"])])
        raise ValueError(f"{place}: {problem['msg'][:1].lower()}{problem['msg'][1:]}") from None
    except (OverflowError, RecursionError) as error:
        raise ValueError(f"{where or 'it'}: {error}") from None
