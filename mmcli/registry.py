"""Finds the parts (modalities, encoders, fusions, tasks, optimizations) by their file names.

A part is one file in its room: the file name is its key (with - for _), its docstring's first line its summary, its `Config`
class its options. Names, summaries and configs are read from the source, so that `mmcli list` and the checking of options
import no torch; only `load` imports the part. Third parties add parts through entry points named `mmcli.<room>`, whose value is
a module, or `module:Class` where it holds several.

A user's own file runs only if the user has named it to this process: see `trust`. That an artifact names it is not enough.

Knows nothing of what the parts do.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import shlex
import sys
from dataclasses import dataclass, field, replace
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
_names: dict[type[Any], str] = {}
"""Class of a part -> the name by which it was loaded."""


@dataclass(frozen=True)
class PartInfo:
    """What is known of a part without importing it."""

    room: str
    name: str
    module: str
    path: Path
    summary: str
    cls: str = ""
    """Which class of the file it is, where that is said."""
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

    built_in = {info.name for info in found}
    found += [_installed(room, entry, built_in) for entry in entry_points(group=f"mmcli.{room}")]
    return {info.name: info for info in sorted(found, key=lambda info: info.name)}


def _installed(room: str, entry: importlib.metadata.EntryPoint, built_in: set[str]) -> PartInfo:
    """A part that another package declares.

    Raises:
        ConfigError: its module cannot be found, or it takes the name of a built-in part.
    """
    says = f"the installed package {entry.dist.name if entry.dist else '?'} declares the {ROOMS[room]} {entry.name!r}"
    if entry.name in built_in:
        raise ConfigError(f"{says}, which mmcli has itself", "Rename its entry point, or uninstall that package.")
    try:
        spec = importlib.util.find_spec(entry.module)
    except ModuleNotFoundError:  # the package that the module lies in
        spec = None
    if spec is None or spec.origin is None:
        raise ConfigError(f"{says} as module {entry.module!r}, which cannot be found", "Reinstall or uninstall that package.")
    return replace(_describe(room, entry.name, entry.module, Path(spec.origin)), cls=entry.attr or "")


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
            return replace(_describe(room, name, f"mmcli_own_{path.stem}", path), cls=own[1])
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
        return name_of(load(room, name))
    variant = variant_of(room, name)
    return f"{info.name}:{variant}" if variant else info.name


def variant_of(room: str, name: str) -> str:
    """What a name says beyond its part: the network in `torchvision:resnet18`; empty where it says no more."""
    info = resolve(room, name)
    if in_file(name) or not info.variant_option:
        return ""
    return name if name in info.aliases else name.partition(":")[2]


def load(room: str, name: str) -> type[Any]:
    """Imports the part and gives its class: the one subclass of the room's contract that its file defines."""
    info = resolve(room, name)
    own = in_file(name) is not None
    module = _module(info) if own else importlib.import_module(info.module)
    contract, classes = _contract(room), _classes(room, module)
    wanted = [value for value in classes if value.__name__ == info.cls] if info.cls else classes
    if info.cls and not wanted:
        near = did_you_mean(info.cls, [found.__name__ for found in classes])
        raise ConfigError(
            f"{info.path} has no {contract.__name__} called {info.cls!r}. {near}",
            f"Let it derive from mmcli.{room}.{contract.__name__}.",
        )
    if len(wanted) != 1:
        raise ConfigError(
            f"{info.path if own else info.module} must define exactly one {contract.__name__}, it defines {len(classes)}",
            _mend_count(room, len(wanted)) if own else "Keep one class to a file.",
        )
    _names[wanted[0]] = f"{info.path}:{wanted[0].__name__}" if own else info.name
    return wanted[0]


def _mend_count(room: str, count: int) -> str:
    """What to do about a file of a user's own with so many parts of a room, which should be one."""
    if count:
        return "Name the one meant: FILE.py:CLASS."
    return f"Let a class in it derive from mmcli.{room}.{_contract(room).__name__}, or name the file that has one."


def name_of(part: type[Any]) -> str:
    """The name of an imported part, as artifacts write it down and `load` takes it."""
    return _names.get(part) or part.__module__.rpartition(".")[2].replace("_", "-")


def rooms_of(name: str) -> list[str]:
    """The rooms that have a part of that name; of a file, those that one of its classes (or the one named) is a part of.

    Raises:
        ConfigError: no such part anywhere, or a file that cannot be imported.
    """
    if not in_file(name):
        rooms = [room for room in ROOMS if any(name in {info.name, *info.aliases} for info in parts(room).values())]
        if not rooms:
            names = [known for room in ROOMS for known in parts(room)]
            raise ConfigError(unknown("part", name, names), "Name a file: ./mine.py, or see: mmcli list")
        return rooms
    info = resolve(next(iter(ROOMS)), name)
    found = {room: [value.__name__ for value in _classes(room, _module(info))] for room in ROOMS}
    rooms = [room for room, classes in found.items() if (info.cls in classes if info.cls else classes)]
    if not rooms:
        names = [known for classes in found.values() for known in classes]
        said = f"has no part called {info.cls!r}. {did_you_mean(info.cls, names)}" if info.cls else "defines no part"
        contracts = ", ".join(f"mmcli.{room}.{_contract(room).__name__}" for room in ROOMS)
        raise ConfigError(f"{info.path} {said}".rstrip(), f"A part is a class that derives from one of {contracts}.")
    return rooms


def source_digest(part: type[Any]) -> str:
    """Of a part that is not mmcli's own, the digest of its file: what was made with it is out of date when that changes.
    Empty for built-in parts, which change with the version alone."""
    module = sys.modules[part.__module__]
    if part.__module__.startswith("mmcli.") or not module.__file__:
        return ""
    return hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()


def _contract(room: str) -> type[Any]:
    contract: type[Any] = importlib.import_module(f"mmcli.{room}").Contract
    return contract


def _classes(room: str, module: ModuleType) -> list[type[Any]]:
    """The classes of that room's contract that a module defines itself."""
    contract = _contract(room)
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, contract) and value.__module__ == module.__name__
    ]


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
    return _config_in(sys.modules[part.__module__])


def _config_in(module: ModuleType) -> type[Any]:
    config: type[Any] | None = vars(module).get("Config")
    if config is None:
        where = module.__file__ or module.__name__
        raise ConfigError(f"{where} defines no Config", "Add: class Config(mmcli.config.Config) with its options.")
    return config


def stem(name: str) -> str:
    """What `--set` calls a part in a file, `mine` for `./mine.py:Mine`; empty where the name is not of a file."""
    own = in_file(name)
    return own[0].stem.replace("_", "-") if own else ""


def config_class(room: str, name: str) -> type[Any]:
    """The part's `Config`, made from its source alone, so that options are checked without importing the part.

    Only the file's imports of typing, pydantic and mmcli.config, and the class itself, are executed. A file of the user's own,
    once it is named, may be called by its stem: `mine`.
    """
    for path in _trusted.values():
        if stem(str(path)) == name.replace("_", "-") and _classes(room, module := _module(resolve(room, str(path)))):
            return _config_in(module)
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
    light = {"typing", "pydantic", "mmcli.config", "mmcli.layers.config", "mmcli.pretrained.config"}
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
