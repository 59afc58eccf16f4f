"""A file of the cells that could not be read. Knows nothing of why."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from mmcli.tables.formulas import guarded


class Rejects:
    """What could not be read, written as it comes: a file beside the predictions, there only if there is any."""

    def __init__(self, path: Path, raw: bool) -> None:
        self.path = path
        self._raw = raw
        self.first: tuple[int, str, str, str] | None = None
        self.count = 0
        self._temporary = path.with_name(f".{path.name}.partial")
        self._file: TextIO | None = None

    def write(self, rejects: Sequence[tuple[int, str, str, str]]) -> None:
        if not rejects:
            return
        if self._file is None:
            self.first = rejects[0]
            self._file = self._temporary.open("w", encoding="utf-8", newline="")
            csv.writer(self._file, lineterminator="\n").writerow(("row", "column", "path", "reason"))
        safe = rejects if self._raw else [(row, *map(guarded, cells)) for row, *cells in rejects]
        csv.writer(self._file, lineterminator="\n").writerows(safe)
        self.count += len(rejects)

    def close(self, keep: bool) -> None:
        """Gives the file its name, or takes it away; one of an earlier call goes."""
        if self._file is not None:
            self._file.close()
        if self._file is not None and keep:
            self._temporary.replace(self.path)
        else:
            self._temporary.unlink(missing_ok=True)
            if keep:
                self.path.unlink(missing_ok=True)
