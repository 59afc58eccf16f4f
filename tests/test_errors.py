from __future__ import annotations

from mmcli.errors import ConfigError, DataError, ExitCode, combine, did_you_mean


def test_exit_codes_are_those_documented() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "FAILED": 1,
        "USAGE": 2,
        "BAD_DATA": 3,
        "ARTIFACT": 4,
        "BUSY": 5,
        "INTERRUPTED": 130,
    }


def test_did_you_mean() -> None:
    assert did_you_mean("gatd", ["gated", "concat"]) == "Did you mean 'gated'?"
    assert did_you_mean("IMAGE", ["image", "text"]) == "Did you mean 'image'?"
    assert did_you_mean("zzz", ["b", "a"]) == "Known: a, b."


def test_combining_keeps_the_code_of_the_first() -> None:
    error = combine([DataError("one", "do this"), ConfigError("two")])
    assert error.code == ExitCode.BAD_DATA
    assert "2 problems" in str(error)
    assert "1. one. do this" in str(error)
