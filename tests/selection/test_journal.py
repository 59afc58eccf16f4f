"""A study's log is what was written, or it is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmcli.errors import ArtifactError
from mmcli.selection.journal import SealedLog

STEPS: list[dict[str, Any]] = [{"op_code": number, "worker_id": "w", "value": number / 3} for number in range(4)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    log = SealedLog(tmp_path / "study.log")
    for step in STEPS:
        log.append_logs([step])
    return log.file


def read(file: Path, first: int = 0) -> list[dict[str, Any]]:
    return list(SealedLog(file).read_logs(first))


def test_what_was_added_is_read_by_all(file: Path) -> None:
    mine, others = SealedLog(file), SealedLog(file)
    assert list(mine.read_logs(0)) == STEPS
    others.append_logs([{"a": 1}, {"b": [1.5, None]}])
    assert list(mine.read_logs(3)) == [STEPS[3], {"a": 1}, {"b": [1.5, None]}]
    mine.append_logs([{"c": "é"}])
    assert list(others.read_logs(6)) == [{"c": "é"}]


def test_no_bit_of_it_may_be_another(file: Path) -> None:
    data = file.read_bytes()
    for bit in range(len(data) * 8):
        other = bytearray(data)
        other[bit // 8] ^= 1 << bit % 8
        file.write_bytes(other)
        with pytest.raises(ArtifactError, match=r"cannot be used: it is damaged after step [0-3]"):
            read(file)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_line_that_is_gone_or_elsewhere_is_told(file: Path, lost: int) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(line for number, line in enumerate(lines) if number != lost))
    with pytest.raises(ArtifactError, match=f"after step {lost}"):
        read(file)
    lines[lost], lines[lost + 1] = lines[lost + 1], lines[lost]
    file.write_bytes(b"".join(lines))
    with pytest.raises(ArtifactError, match=f"after step {lost}"):
        read(file)


def test_what_a_killed_process_left_of_a_line_is_written_over(file: Path) -> None:
    data = file.read_bytes()
    last = len(data) - len(data.splitlines(keepends=True)[-1])
    for end in range(last, len(data)):
        file.write_bytes(data[:end])
        assert read(file) == STEPS[:-1]
        SealedLog(file).append_logs(STEPS[-1:])
        assert file.read_bytes() == data


def test_a_log_that_became_shorter_or_vanished_is_told(file: Path) -> None:
    log = SealedLog(file)
    assert len(list(log.read_logs(0))) == 4
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(ArtifactError, match="begun anew by another process"):
        log.append_logs(STEPS)
    file.unlink()
    with pytest.raises(ArtifactError, match="begun anew by another process"):
        log.read_logs(0)


def test_steps_stand_in_it_to_be_read_by_eye(file: Path) -> None:
    assert [json.loads(line.split(" ", 3)[3]) for line in file.read_text().splitlines()] == STEPS
