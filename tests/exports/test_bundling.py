"""A package of copies that imports neither mmcli nor what it stands in for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from mmcli.exports.bundling import PACKAGE, bundle
from mmcli.exports.made import MAKERS

ALLOWED = {"numpy", "PIL", "soundfile", "tokenizers", "onnxruntime", "av"}


def test_all_that_is_imported_comes_along(tmp_path: Path) -> None:
    modules = {f"mmcli.exports.{own.partition('.')[0]}" for own in MAKERS.values()}
    assert set(bundle(["mmcli.exports.command", *modules], tmp_path)) == ALLOWED
    files = {path.stem for path in (tmp_path / PACKAGE).glob("*.py")}
    assert {"numbers", "files", "pictures", "frames", "sound", "resampling", "jpegs"} <= files
    for path in (tmp_path / PACKAGE).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [own.name for own in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)] if not node.level else []
                near = node.module or node.names[0].name
                assert node.level <= 1 and (not node.level or near in files), f"{path.name}: {near}"
            optional = {"simplejpeg", "fsspec", "pillow_heif", "dateutil"}  # tried, or asked for by rare cells
            assert {name.partition(".")[0] for name in names} <= ALLOWED | optional | set(sys.stdlib_module_names), path.name


def test_only_what_is_needed_is_copied(tmp_path: Path) -> None:
    assert bundle(["mmcli.exports.fields"], tmp_path) == ["numpy"]
    assert not (tmp_path / PACKAGE / "images.py").exists()
    code = "import sys, preprocessing.fields as f; print(f.NumberFormat().value('1,234'), 'mmcli' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1234.0", "False"]
