"""Whether the files that the cells of a column name are there: a wrong folder is an error, not a column of absent cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmcli.errors import DataError
from mmcli.media import addresses, files
from mmcli.modalities import Modality, Reject
from mmcli.reporting.counts import agreed

_LEAST = 200
"""Files none of which is there, after which the rest of a table is not waited for."""


@dataclass
class FilesThere:
    """A count of the files that a column names, as its rows pass."""

    column: str
    named: int = 0
    missing: int = 0
    first: str = ""

    def count(
        self, cells: Sequence[str | None], paths: Sequence[str | None], rejects: Sequence[Reject], modality: Modality
    ) -> None:
        """Adds some cells, what they were resolved to, and those that could not be read."""
        if not modality.reads_files:
            return
        named = (cell for cell, path in zip(cells, paths, strict=True) if path is not None)
        self.named += sum(cell is not None and modality.names_file(cell) for cell in named)
        for reject in rejects:
            path, cell = paths[reject.position], cells[reject.position]
            if (
                path is not None
                and cell is not None
                and modality.names_file(cell)
                and (addresses.is_far(path) or not files.exists(path))
            ):
                self.missing += 1
                self.first = self.first or f"{path} ({reject.reason})"

    def check(self, at_end: bool = False) -> None:
        """Raises DataError if most of them are missing, as far as can be told by now."""
        if self.missing < _LEAST and not at_end:
            return
        if self.missing == self.named > 0 or (at_end and self.missing > 0.5 * self.named):
            raise DataError(
                f"column {self.column!r}: {self.missing:,} of {self.named:,} files {agreed(self.missing, 'are')} not there; "
                f"first: {self.first[:300]}",
                "Give the folder that the paths start from with --media-root (media_root in Python), or let files that are not "
                "there count as missing cells with --allow-missing (allow_missing=True).",
            )
