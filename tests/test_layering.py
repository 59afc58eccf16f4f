"""The house: rooms on floors, imports that go down only, a README whose tree is true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mmcli"
FLOORS: tuple[tuple[str, ...], ...] = (
    ("__init__", "errors", "media", "reporting", "signals"),
    ("artifacts", "registry", "tables"),
    ("config", "vectors"),
    ("pretrained",),
    ("layers",),
    ("text",),
    ("exports", "judging"),
    ("modalities", "tasks"),
    ("options",),
    ("data",),
    ("encoders", "fusions", "heads", "training"),
    ("models",),
    ("jobs",),
    ("selection",),
    ("optimizations", "proof"),
    ("stages",),
    ("checks",),
    ("cli",),
    ("__main__",),
)
"""From the ground up. A room imports from floors below its own, and from itself."""
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
AT_THE_ROOT = {"__init__", "__main__", "errors", "registry"}
"""The files that are no room: words that everyone speaks."""
CLOSED = ["stages", "modalities", "encoders", "fusions", "tasks", "optimizations", "heads"]
"""Rooms whose parts do not import each other."""


def imports(path: Path) -> set[str]:
    """Modules of mmcli that a file imports, at any depth, type-checking blocks and `mmcli.load` aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "mmcli":
            if node.module == "mmcli":
                found |= {
                    f"mmcli.{name.name}"
                    for name in node.names
                    if (PACKAGE / name.name).exists() or (PACKAGE / f"{name.name}.py").exists()
                }
            else:
                found.add(str(node.module))
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_lower_floors(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if path.parent == PACKAGE and room == "__init__":
        return  # its one import is the lazy mmcli.load
    for module in imports(path):
        other = module.split(".")[1]
        assert other == room or FLOOR[other] < FLOOR[room], f"{path}: {module}"
        if other == room and room in CLOSED:
            own = ".".join(["mmcli", *path.relative_to(PACKAGE).parts[:2]])  # a part may be a package
            assert module in {f"mmcli.{room}", own} or module.startswith(f"{own}."), f"{path} imports its neighbour {module}"


def test_every_room_has_a_floor_and_no_floor_holds_more_than_six() -> None:
    files = {path.stem for path in PACKAGE.glob("*.py")}
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert files == AT_THE_ROOT
    assert set(FLOOR) == files | folders
    assert max(map(len, FLOORS)) <= 6


def test_no_file_imports_itself_in_a_circle() -> None:
    modules = {path: ".".join(["mmcli", *path.relative_to(PACKAGE).with_suffix("").parts]) for path in FILES}
    named = {
        name.removesuffix(".__init__"): {found.removesuffix(".__init__") for found in imports(path)}
        for path, name in modules.items()
    }

    def walk(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above[above.index(module) :], module])
        for other in named.pop(module, ()):
            walk(other, (*above, module))

    for module in sorted(set(named) - {"mmcli"}):
        walk(module, ())


def test_the_tree_in_the_readme_is_the_package() -> None:
    text = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
    tree = re.search(r"^    mmcli/\n((?:      .*\n)+)", text, re.M)
    assert tree is not None
    told = {found[1] for found in re.finditer(r"^      (\w+)/ ", tree[1], re.M)}
    assert told == {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}


def test_every_room_says_what_it_owns_and_what_it_does_not_know() -> None:
    for path in PACKAGE.glob("*/__init__.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        assert re.search(r"\w.*[:.;,].*\b[Kk]nows ", docstring.splitlines()[0]), path


def test_every_module_has_a_docstring_that_says_what_it_is() -> None:
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_no_file_and_no_function_is_longer_than_one_can_take_in() -> None:
    files, functions = {}, {}
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        files[str(path)] = text.count("\n")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                functions[f"{path}: {node.name}"] = (node.end_lineno or 0) - node.lineno + 1
    assert {name: own for name, own in files.items() if own > 400} == {}
    assert {name: own for name, own in functions.items() if own > 60} == {}


def test_nothing_is_ever_unpickled() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        found = re.search(r"import pickle|(?<!safetensors.)torch\.(save|load)\(|joblib|read_pickle|allow_pickle=True", text)
        assert not found, f"{path}: {found}"
