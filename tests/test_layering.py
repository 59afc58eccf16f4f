"""Imports flow one way: cli -> stages -> optimizations -> the whole -> parts -> tools -> ground."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mmcli"
FLOOR = {
    "cli": 6,
    "__main__": 7,
    "stages": 5,
    "optimizations": 4,
    **dict.fromkeys(
        [
            "model",
            "networks",
            "joint",
            "solo",
            "warmstart",
            "racing",
            "fusing",
            "leaderboard",
            "checking",
            "balancing",
            "baselines",
            "dataset",
            "inputs",
            "sampling",
            "schema",
            "sharding",
            "recipe",
            "exporting",
            "running",
            "searching",
            "distilling",
            "ensembling",
            "tradeoff",
            "conformal",
            "analysis",
            "evaluation",
            "verdict",
            "examples",
            "trust",
            "proof",
            "targets",
        ],
        3,
    ),
    **dict.fromkeys(["modalities", "encoders", "fusions", "tasks"], 2),
    **dict.fromkeys(
        [
            "training",
            "artifacts",
            "tables",
            "reporting",
            "layers",
            "forms",
            "sound",
            "media",
            "pixels",
            "pretrained",
            "streaming",
            "recomputing",
            "calibration",
        ],
        1,
    ),
    **dict.fromkeys(["signals", "registry", "errors", "config", "hub", "memory", "__init__"], 0),
}
CLOSED = ["stages", "modalities", "encoders", "fusions", "tasks", "optimizations"]
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
    if room == "__init__":
        return  # its one import is the lazy mmcli.load
    for module in imports(path):
        other = module.split(".")[1]
        assert FLOOR[other] < FLOOR[room] or other == room or FLOOR[other] == FLOOR[room] in {0, 1, 3}, f"{path}: {module}"
        if other == room and room in CLOSED:
            own = ".".join(["mmcli", *path.relative_to(PACKAGE).parts[:2]])  # a part may be a package
            assert module in {f"mmcli.{room}", own} or module.startswith(f"{own}."), f"{path} imports its neighbour {module}"


def test_every_module_has_a_docstring_that_says_what_it_is() -> None:
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_nothing_is_ever_unpickled() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        found = re.search(r"import pickle|(?<!safetensors.)torch\.(save|load)\(|joblib|read_pickle|allow_pickle=True", text)
        assert not found, f"{path}: {found}"
