"""Finds the parts (modalities, encoders, fusions, tasks, optimizations) by their file names.

A part is one file in its room: the file name is its key (with - for _), its docstring's first line its summary, its `Config`
class its options. Names, summaries and configs are read from the source, so that `mmcli list` and the checking of options
import no torch; only `load` imports the part. Third parties add parts through entry points named `mmcli.<room>`.

A user's own file runs only if the user has named it to this process: see `trust`. That an artifact names it is not enough.

Knows nothing of what the parts do.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import shlex
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from mmcli.errors import ArtifactError, ConfigError, did_you_mean, unknown

ROOMS = {
    "modalities": "modality",
    "encoders": "encoder",
    "fusions": "fusion method",
    "heads": "head",
    "tasks": "task",
    "optimizations": "optimization",
}
"""Room -> what one of its parts is called in messages."""
_trusted: dict[str, Path] = {}
"""File name -> the user's own file of that name."""


@dataclass(frozen=True)
class PartInfo:
    """What is known of a part without importing it."""

    room: str
    name: str
    module: str
    path: Path
    summary: str
    literals: dict[str, Any] = field(default_factory=dict)
    """The file's module-level constants with literal values: `ALIASES`, `FAMILY`, `TRAINING`, ..."""

    @property
    def variant_option(self) -> str:
        """The option that `NAME:VARIANT` sets; empty where there is none."""
        return str(self.literals.get("VARIANT", ""))

    @property
    def aliases(self) -> tuple[str, ...]:
        return tuple(self.literals.get("ALIASES", ()))


@cache
def parts(room: str) -> dict[str, PartInfo]:
    """Every part of a room, by name, sorted."""
    package = importlib.util.find_spec(f"mmcli.{room}")
    assert package is not None and package.submodule_search_locations is not None, room
    folder = Path(package.submodule_search_locations[0])
    found = [
        _describe(room, path.stem.replace("_", "-"), f"mmcli.{room}.{path.stem}", path)
        for path in folder.glob("*.py")
        if not path.stem.startswith("_")
    ]
    from importlib.metadata import entry_points  # a tenth of what help takes

    for entry in entry_points(group=f"mmcli.{room}"):
        spec = importlib.util.find_spec(entry.value)
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"the installed package {entry.dist.name if entry.dist else '?'} declares the {ROOMS[room]} "
                f"{entry.name!r} as module {entry.value!r}, which cannot be found",
                "Reinstall or uninstall that package.",
            )
        found.append(_describe(room, entry.name, entry.value, Path(spec.origin)))
    return {info.name: info for info in sorted(found, key=lambda info: info.name)}


def in_file(name: str) -> tuple[Path, str] | None:
    """The file and class of a part that is named by them: `./mine.py:MyFusion`, or `./mine.py` where it has but one."""
    path, colon, cls = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        path, cls = name, ""
    return (Path(path).expanduser(), cls) if path.endswith(".py") else None


def trust(name: str) -> None:
    """Lets parts in a file of the user's own be imported from here on, the user having typed `name`: `./mine.py:MyFusion`.
    Other names need no trust.

    Raises:
        ConfigError: there is no such file.
    """
    if own := in_file(name):
        path, _ = own
        if not path.is_file():
            raise ConfigError(f"{name}: there is no such file", f"Looked in {path.absolute().parent}.")
        _trusted[path.name] = path.absolute()


def trusted() -> list[Path]:
    """The user's own files that may be imported."""
    return list(_trusted.values())


def resolve(room: str, name: str) -> PartInfo:
    """The part of that name or alias, or in that file, which is then the one that the user named, wherever `name` says it lies.

    Raises:
        ConfigError: no such part; the message suggests the nearest name.
        ArtifactError: a file that the user has not named.
    """
    if own := in_file(name):
        path = _trusted.get(own[0].name)
        if path is None:
            raise ArtifactError(
                f"{ROOMS[room]} {name!r} is a file that you have not named: nothing in it was run",
                f"If it is yours, and you trust what stands in it, add: --trust {shlex.quote(own[0].name)} (with its folder)",
            )
        try:
            return _describe(room, name, f"mmcli_own_{path.stem}", path)
        except (SyntaxError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid Python: {error}") from None
    known = parts(room)
    base, _, variant = name.partition(":")
    for info in known.values():
        if info.name == base.replace("_", "-") and (not variant or info.variant_option):
            return info
        if name in info.aliases:
            return info
    names = [*known, *(alias for info in known.values() for alias in info.aliases)]
    raise ConfigError(unknown(ROOMS[room], name, names), f"See: mmcli list {room}")


def canonical(room: str, name: str) -> str:
    """The one way of writing a part's name: `parallel` is `concat`, `r3d_18` is `torchvision:r3d_18`.

    Raises:
        ConfigError: no such part.
    """
    info = resolve(room, name)
    if in_file(name):
        return f"{info.path}:{load(room, name).__name__}"
    variant = variant_of(room, name)
    return f"{info.name}:{variant}" if variant else info.name


def variant_of(room: str, name: str) -> str:
    """What a name says beyond its part: the network in `torchvision:resnet18`; empty where it says no more."""
    info = resolve(room, name)
    if not info.variant_option:
        return ""
    return name if name in info.aliases else name.partition(":")[2]


def load(room: str, name: str) -> type[Any]:
    """Imports the part and gives its class: the one subclass of the room's contract that its file defines."""
    info = resolve(room, name)
    own = in_file(name)
    module = _module(info) if own else importlib.import_module(info.module)
    contract = importlib.import_module(f"mmcli.{room}").Contract
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, contract) and value.__module__ == module.__name__
    ]
    if own and own[1]:
        wanted = [value for value in classes if value.__name__ == own[1]]
        if not wanted:
            near = did_you_mean(own[1], [found.__name__ for found in classes])
            raise ConfigError(
                f"{info.path} has no {contract.__name__} called {own[1]!r}. {near}",
                f"Let it derive from mmcli.{room}.{contract.__name__}.",
            )
        return wanted[0]
    if len(classes) != 1:
        raise ConfigError(
            f"{info.path if own else info.module} must define exactly one {contract.__name__}, it defines {len(classes)}",
            "Name the one meant: FILE.py:CLASS." if own else "Keep one class to a file.",
        )
    return classes[0]


def _module(info: PartInfo) -> ModuleType:
    """A user's own file as a module, imported once as long as it does not change."""
    key = f"{info.module}_{abs(hash((str(info.path), info.path.stat().st_mtime_ns)))}"
    if key in sys.modules:
        return sys.modules[key]
    spec = importlib.util.spec_from_file_location(key, info.path)
    assert spec is not None and spec.loader is not None, info.path
    module = importlib.util.module_from_spec(spec)
    sys.modules[key] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[key]
        raise ConfigError(f"{info.path} cannot be imported: {type(error).__name__}: {error}") from None
    return module


def config_of(part: type[Any]) -> type[Any]:
    """The `Config` in the file of an imported part."""
    config: type[Any] | None = vars(sys.modules[part.__module__]).get("Config")
    if config is None:
        raise ConfigError(f"{part.__module__} defines no Config", "Add: class Config(mmcli.config.Config) with its options.")
    return config


def config_class(room: str, name: str) -> type[Any]:
    """The part's `Config`, made from its source alone, so that options are checked without importing the part.

    Only the file's imports of typing, pydantic and mmcli.config, and the class itself, are executed.
    """
    info = resolve(room, name)
    if in_file(name):
        return config_of(load(room, name))
    if not info.module.startswith("mmcli."):
        imported: type[Any] = importlib.import_module(info.module).Config
        return imported
    return _config_from_source(info.path, info.module)


@cache
def _config_from_source(path: Path, module_name: str) -> type[Any]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    light = {"typing", "pydantic", "mmcli.config", "mmcli.pretrained.config"}
    body: list[ast.stmt] = [
        node
        for node in tree.body
        if (isinstance(node, ast.ImportFrom) and node.module in light)
        or (isinstance(node, ast.ClassDef) and node.name == "Config")
    ]
    namespace = ModuleType(module_name)
    exec(compile(ast.Module(body=body, type_ignores=[]), str(path), "exec", dont_inherit=True), vars(namespace))
    config: type[Any] = namespace.Config
    return config


def _describe(room: str, name: str, module: str, path: Path) -> PartInfo:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree) or ""
    literals = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                literals[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    summary = docstring.splitlines()[0].rstrip(".") if docstring else "(no description)"
    return PartInfo(room=room, name=name, module=module, path=path, summary=summary, literals=literals)
