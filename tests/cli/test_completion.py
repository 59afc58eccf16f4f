"""What the shell offers, asked as the shell asks it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmcli.cli import app


def offered(line: str) -> list[str]:
    """The words offered for the end of a line; fish is told one a line."""
    asked = {"_MMCLI_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    output = CliRunner().invoke(app, [], prog_name="mmcli", env=asked).output
    return [word.partition("\t")[0] for word in output.splitlines() if word]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mmcli fuse -m ga", ["gated", "gated-cross-attention"]),
        ("mmcli optimize --goal ", ["balanced", "accuracy", "latency", "size"]),
        ("mmcli optimize --skip pru", ["prune"]),
        ("mmcli fuse --device c", ["cpu", "cuda"]),
        ("mmcli run t.csv --task multi", ["multilabel"]),
        ("mmcli fuse --set training.epo", ["training.epochs="]),
        ("mmcli fuse --set fusion.gated.hid", ["fusion.gated.hidden="]),
        ("mmcli export --format onnx", ["onnx", "onnx-int8"]),
    ],
)
def test_values_are_offered(line: str, words: list[str]) -> None:
    assert offered(line) == words


def test_columns_are_those_of_the_table_on_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text("note;price;label\na;1;x\n")
    monkeypatch.chdir(tmp_path)
    for flag in ("--target", "-t", "--input", "--ignore", "--split", "--group", "--id"):
        assert offered(f"mmcli run t.csv {flag} ") == ["note", "price", "label"]
    assert offered("mmcli inspect t.csv -t note -t p") == ["price"]
    assert offered("mmcli run absent.csv --target ") == []
    assert offered("mmcli run --target ") == []
