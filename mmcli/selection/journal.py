"""The log of a study: every step that Optuna takes, one to a line, each sealed with all before it.

    <size> <check of the size> <SHA-256> <step as JSON>

So a flipped bit, or a line that is another's or missing before others, is seen when the log is read, while what a killed
process left of its last line is known as such: it counts as not written, and the next step is written over it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import filelock
from optuna.storages.journal import BaseJournalBackend

from mmcli.errors import ArtifactError

HEAD = len("00000000 00000000 ") + 64 + 1
"""Bytes of a line before its step."""


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _line(before: bytes, step: bytes) -> bytes:
    """A step as it is written, after the seal of the one before it."""
    size = b"%08x" % len(step)
    return b"%s %s %s %s\n" % (size, _digest(before, size)[:8].encode(), _digest(before, step).encode(), step)


def _seal_of(line: bytes) -> bytes:
    return line[HEAD - 65 : HEAD - 1]


class SealedLog(BaseJournalBackend):
    """What `optuna.storages.JournalStorage` keeps a study in; processes may share it.

    Raises:
        ArtifactError: when it is read or added to, where it is not what was written.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = filelock.FileLock(file.with_suffix(".lock"), poll_interval=0.005)
        self._steps: list[dict[str, Any]] = []
        self._end = 0
        self._seal = b""

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """The steps from that number on."""
        with self._lock:
            self._read()
        return self._steps[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Adds steps, and puts them on disk."""
        with self._lock:
            self._read()
            lines, seal = list[bytes](), self._seal
            for log in logs:
                lines.append(_line(seal, json.dumps(log, separators=(",", ":")).encode()))
                seal = _seal_of(lines[-1])
            with self.file.open("r+b" if self._end else "ab") as file:
                file.truncate(self._end)
                file.seek(self._end)
                file.write(b"".join(lines))
                file.flush()
                os.fsync(file.fileno())

    def _read(self) -> None:
        """Takes in what was added since the last time."""
        if not self.file.exists() and not self._end:
            return
        if not self.file.exists() or self.file.stat().st_size < self._end:
            raise ArtifactError(
                f"the study of the search, {self.file}, is gone, or was begun anew by another process",
                "Go on with what is there now: the same command again.",
            )
        with self.file.open("rb") as file:
            file.seek(self._end)
            data = file.read()
        at = 0
        while len(data) - at >= HEAD:
            size = data[at : at + 8]
            self._refuse_unless(data[at + 9 : at + 17].decode("latin-1") == _digest(self._seal, size)[:8])
            end = at + HEAD + int(size, 16) + 1
            if end > len(data):
                break
            step = data[at + HEAD : end - 1]
            line = _line(self._seal, step)
            self._refuse_unless(data[at:end] == line)
            self._steps.append(json.loads(step))
            self._seal, self._end = _seal_of(line), self._end + end - at
            at = end

    def _refuse_unless(self, whole: bool) -> None:
        if not whole:
            raise ArtifactError(
                f"the study of the search, {self.file}, cannot be used: it is damaged after step {len(self._steps)}",
                "Begin the search anew: mmcli optimize --force.",
            )
