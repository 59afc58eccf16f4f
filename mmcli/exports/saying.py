"""When the words of texts are said, written as they come: lines of JSON, or subtitles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from mmcli.errors import ConfigError
from mmcli.reporting.counts import agreed, counted
from mmcli.text.words import Timed, as_json, as_srt


class Words:
    """The words of each row, written as they come: lines of JSON, or subtitles; a file takes its name when it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = self.without = self.first = 0
        """Rows so far; those without times, and the first of them, from 1."""
        self._temporary = path.with_name(f".{path.name}.partial")
        self._file: TextIO | None = None

    @property
    def remark(self) -> str:
        """What is to be said of rows without times."""
        told = f"{counted(self.without, 'row')} {agreed(self.without, 'have')} no sound"
        return f"{told}: words are read off another column there and have no times, the first: row {self.first}"

    def write(self, rows: Sequence[Sequence[Timed]]) -> None:
        """Takes the next rows of the table.

        Raises:
            ConfigError: they are several for a file of subtitles.
        """
        for words in rows:
            self.rows += 1
            if words and words[0].start is None:
                self.without, self.first = self.without + 1, self.first or self.rows
            if not self.path.suffix:
                _write_whole(self.path / f"{self.rows:06d}.srt", as_srt(words))
                continue
            if self.path.suffix.lower() == ".srt" and self.rows > 1:
                raise ConfigError(
                    f"--words {self.path}: the table has more than one row, subtitles are of one recording",
                    "Name a folder, for a file of each row, or a .json.",
                )
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._temporary.open("w", encoding="utf-8", newline="")
            self._file.write(as_srt(words) if self.path.suffix.lower() == ".srt" else as_json(self.rows, words) + "\n")

    def close(self, keep: bool) -> None:
        """Gives the file its name, or takes it away."""
        if self._file is not None:
            self._file.close()
        if self._file is not None and keep:
            self._temporary.replace(self.path)
        else:
            self._temporary.unlink(missing_ok=True)


def _write_whole(path: Path, text: str) -> None:
    """A file that takes its name when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(text.encode())
    temporary.replace(path)
