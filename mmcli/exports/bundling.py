"""Copies plain modules of mmcli with all that they import of it, as a package of their own. Knows no model."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

PACKAGE = "preprocessing"
"""What the package of copies is called."""
INSTEAD = {"scipy.signal": "mmcli.exports.resampling", "simplejpeg": "mmcli.exports.jpegs"}
"""Modules not to be asked for where a model runs -> the plain one that stands in for them."""


def bundle(modules: Iterable[str], folder: Path) -> list[str]:
    """Writes the modules, those of mmcli that they import, and so on, into the package under `folder`, imports of each other
    made relative; gives the distributions that have to be there when they are imported."""
    copies, left = dict[str, str](), list(modules)
    needed: set[str] = set()
    while left:
        module = left.pop()
        if module in copies:
            continue
        copies[module], found = _rewritten(_source(module).read_text(encoding="utf-8"), module)
        needed |= _others(copies[module])
        left += found
    names = {module: module.rpartition(".")[2] for module in copies}
    assert len(set(names.values())) == len(names), f"two modules of one name: {sorted(names)}"
    package = folder / PACKAGE
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text('"""From cells to tensors to answers: plain modules that need no mmcli."""\n')
    for module, text in copies.items():
        (package / f"{names[module]}.py").write_text(text, encoding="utf-8")
    return sorted(needed)


def _source(module: str) -> Path:
    found = importlib.util.find_spec(module)
    assert found is not None and found.origin is not None, module
    return Path(found.origin)


def _rewritten(text: str, module: str) -> tuple[str, list[str]]:
    """The text of a module with imports of mmcli, and of what has a stand-in, made relative; and the modules that those are."""
    lines, modules = text.splitlines(keepends=True), list[str]()
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in sorted(nodes, key=lambda node: -node.lineno):
        made = [_relative(node, own, module) for own in node.names]
        if all(made):
            start = " " * node.col_offset
            lines[node.lineno - 1 : node.end_lineno] = [f"{start}{own[0]}\n" for own in made if own]
            modules += [own[1] for own in made if own]
    return "".join(lines), modules


def _relative(node: ast.Import | ast.ImportFrom, own: ast.alias, module: str) -> tuple[str, str] | None:
    """How one name that a module imports is imported in the package, and the module of mmcli that it is or is of; None where it
    stays as it is. A stand-in may try what it stands in for."""
    named = own.name if isinstance(node, ast.Import) else str(node.module)
    name = INSTEAD.get(named, named)
    if name.partition(".")[0] != "mmcli" or name == module:
        return None
    if isinstance(node, ast.Import):
        return f"from . import {name.rpartition('.')[2]} as {own.asname or own.name}", name
    renamed = f" as {own.asname}" if own.asname else ""
    inner = f"{name}.{own.name}"
    if _is_module(inner):
        return f"from . import {own.name}{renamed}", inner
    return f"from .{name.rpartition('.')[2]} import {own.name}{renamed}", name


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is a module, no package
        return False


def _others(text: str) -> set[str]:
    """The modules of other distributions that are imported when the module is."""
    found = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            found |= {own.name.partition(".")[0] for own in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"mmcli"}
