"""Whose trial is whose, among processes at one study: a kernel lock for each, which goes with its process however that ends. So
none is made twice, and what a killed one left is taken up at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

TIMES = 3
"""How often a trial is begun again that ended its process."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds what belongs to the studies under a folder as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "study.lock"):
        yield


class Turns:
    """The trials of one study, whose files lie in `folder`."""

    def __init__(self, study: Any, folder: Path) -> None:
        self.study, self.folder = study, folder

    def finished(self) -> int:
        """How many trials are done, or were stopped early."""
        return len(self._in(("COMPLETE", "PRUNED")))

    @contextmanager
    def next(self, goal: int) -> Iterator[Any]:
        """The next trial, of so many in all; None while others are at work on the last of them. It is told, as pruned too; one
        that is broken off is begun again by whoever comes next."""
        with alone(self.folder.parent):
            running = self.take_up()
            trial = None if self.finished() + running >= goal else self.study.ask()
            lock = None if trial is None else self._lock(trial.number)
            if lock is not None:
                lock.acquire()
        try:
            yield trial
        except BaseException:
            if trial is not None:
                with alone(self.folder.parent):
                    self._again(self.study.trials[trial.number])
            raise
        finally:
            if lock is not None:
                Path(lock.lock_file).unlink(missing_ok=True)
                lock.release()

    def take_up(self) -> int:
        """Puts the trials of dead processes in the queue again; gives how many living ones work on. For who is `alone`."""
        running = 0
        for trial in self._in(("RUNNING",)):
            lock = self._lock(trial.number)
            try:
                lock.acquire()
            except filelock.Timeout:
                running += 1
                continue
            self._again(trial)
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
        return running

    def _again(self, trial: Any) -> None:
        """Ends a trial that was broken off, clears away what it left, and waits for one with its parameters."""
        import optuna

        if trial.state.is_finished():
            return
        self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        for left in [*self.folder.glob(f".{trial.number}-*"), *self.folder.glob(f"{trial.number}.safetensors*")]:
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        times = trial.user_attrs.get("times", 0) + 1
        parameters = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        if parameters and times <= TIMES:
            self.study.enqueue_trial(parameters, user_attrs={"times": times})

    def _lock(self, number: int) -> Any:
        return filelock.FileLock(self.folder / f".{number}.lock", timeout=0)

    def _in(self, states: tuple[str, ...]) -> list[Any]:
        import optuna

        found: list[Any] = self.study.get_trials(
            deepcopy=False, states=[getattr(optuna.trial.TrialState, name) for name in states]
        )
        return found
