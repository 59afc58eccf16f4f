"""Trials among processes: each made once, those of the dead taken up at once, just as many as are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import filelock
import pytest

from mmcli.selection.turns import TIMES, Turns

optuna = pytest.importorskip("optuna")


@pytest.fixture
def turns(tmp_path: Path) -> Turns:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    for place in range(3):
        study.enqueue_trial({"x": float(place)})
    return Turns(study, tmp_path / "study")


def made(turns: Turns, goal: int) -> float | None:
    with turns.next(goal) as trial:
        if trial is None:
            return None
        x: float = trial.suggest_float("x", 0, 10)
        turns.study.tell(trial, x)
        return x


def states(turns: Turns) -> list[str]:
    return [trial.state.name for trial in turns.study.trials]


@pytest.fixture(autouse=True)
def _folder(turns: Turns) -> None:
    turns.folder.mkdir()


def test_waiting_ones_come_first_and_no_more_than_the_goal(turns: Turns) -> None:
    assert [made(turns, 2), made(turns, 2), made(turns, 2)] == [0.0, 1.0, None]
    assert states(turns) == ["COMPLETE", "COMPLETE", "WAITING"]
    assert turns.finished() == 2


def test_one_that_another_works_on_counts_and_is_left_alone(turns: Turns) -> None:
    with turns.next(2) as mine:
        other = Turns(turns.study, turns.folder)
        assert made(other, 2) == 1.0
        assert made(other, 2) is None  # one done, one at work
        assert other.take_up() == 1
        turns.study.tell(mine, 5.0)
    assert turns.finished() == 2
    assert not list(turns.folder.glob(".*"))


def test_what_a_dead_process_left_is_begun_again_at_once(turns: Turns) -> None:
    dead = turns.study.ask()  # without a lock: its process is gone
    dead.suggest_float("x", 0, 10)
    (turns.folder / f".{dead.number}-abc").mkdir()
    (turns.folder / f"{dead.number}.safetensors.writing").write_bytes(b"half")
    assert [made(turns, 9) for _ in range(3)] == [1.0, 2.0, 0.0]
    assert states(turns) == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert not [path for path in turns.folder.iterdir() if path.name.startswith((".0", "0."))]


@pytest.mark.parametrize("broken", [KeyboardInterrupt, ValueError])
def test_one_that_is_broken_off_waits_again_but_not_for_ever(turns: Turns, broken: type[BaseException]) -> None:
    def breaks() -> Any:
        with turns.next(9) as trial:
            trial.suggest_float("x", 0, 10)
            raise broken

    for _ in range(2):
        assert made(turns, 9) is not None
    for _ in range(TIMES + 1):
        with pytest.raises(broken):
            breaks()
    assert states(turns)[2:] == ["FAIL"] * (TIMES + 1)
    assert [trial.params["x"] for trial in turns.study.trials[2:]] == [2.0] * (TIMES + 1)
    assert not list(turns.folder.glob(".*"))


def test_a_lock_is_the_kernels(turns: Turns) -> None:
    """A lock file that a killed process left holds nobody up."""
    dead = turns.study.ask()
    Path(turns.folder / f".{dead.number}.lock").touch()
    with filelock.FileLock(turns.folder / ".7.lock"):  # of another trial
        assert turns.take_up() == 0
