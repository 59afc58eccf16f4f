"""Whether there is a table at a path, told before anything reads it. Knows suffixes; imports nothing that reads."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from mmcli.errors import DataError

STDIN = Path("-")
"""How standard input is named on the command line."""
SUFFIXES = (".csv", ".tsv", ".tab", ".parquet", ".pq", ".jsonl", ".ndjson", ".xlsx")
"""Of files that are surely meant as tables, packed or not; a .txt and a .json may be anything."""
PACKED = (".gz", ".bz2", ".xz", ".zip")
READ = ".csv, .tsv, .json, .jsonl, .parquet or .xlsx, also in .gz, .bz2, .xz or .zip"
GIVE = f"Give a table: {READ}."


def require_file(path: Path) -> Path:
    """The path itself.

    Raises:
        DataError: there is no file; naming the tables beside it whose names are like it, or those of the folder it is.
    """
    if path.is_file() or path == STDIN:
        return path
    if path.is_dir():
        tables = _tables(path)
        inside = f" Tables in it: {', '.join(str(path / name) for name in tables[:3])}." if tables else ""
        raise DataError(f"{path}: is a folder, not a table.{inside}", GIVE)
    if path.exists():
        return path  # a pipe, which can be read
    if not path.parent.is_dir():
        raise DataError(f"{path}: there is no such file, and no folder {path.parent}", GIVE)
    tables = _tables(path.parent)
    stems = get_close_matches(_unpacked(path).stem, sorted({_unpacked(name).stem for name in tables}), n=3, cutoff=0.6)
    near = [name for stem in stems for name in tables if _unpacked(name).stem == stem]
    like = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    raise DataError(f"{path}: there is no such file.{like}", GIVE)


def _tables(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if _unpacked(file.name).suffix.lower() in SUFFIXES)


def _unpacked(name: str | Path) -> Path:
    """A table's name, whatever it is packed in."""
    path = Path(name)
    return path.with_suffix("") if path.suffix.lower() in PACKED else path
