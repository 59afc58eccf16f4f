from __future__ import annotations

import pytest

from mmcli.reporting import console
from mmcli.reporting.console import Console


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "LOG_EVERY_S", 0.0)
    with Console().progress("encoders/photo/cnn", 40, 3) as progress:
        progress.advance("val accuracy 0.5")
    captured = capsys.readouterr()
    assert captured.err.strip() == "encoders/photo/cnn: 4 of 40; val accuracy 0.5"
    assert captured.out == ""


def test_quiet_says_warnings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Console(quiet=True)
    quiet.note("note")
    quiet.table(["a"], [["b"]])
    quiet.next_step("next")
    quiet.warn("look at [this]")
    captured = capsys.readouterr()
    assert captured.err.strip() == "warning: look at [this]"
    assert captured.out == ""


def test_tables_show_brackets_and_chinese_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table(["列", "[value]"], [["标签", "[0.1, 0.2]"]])
    err = capsys.readouterr().err
    assert "标签" in err
    assert "[value]" in err
    assert "[0.1, 0.2]" in err


def test_a_log_tells_the_total_of_its_own_line_when_others_are_over(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmcli.reporting.console.LOG_EVERY_S", 0.0)
    console = Console()
    with console.side_by_side():
        with console.progress("first", 5) as first:
            first.advance()
        with console.progress("second", 40) as second, console.progress("third", 7):
            second.advance("well")
    assert "second: 1 of 40; well" in capsys.readouterr().err
