"""Where a table's bytes come from: a file, a packed file, or standard input; and what kind of table the bytes are.

Owns unpacking and the first bytes. Knows nothing of text, rows or columns.
"""

from __future__ import annotations

import atexit
import bz2
import gzip
import io
import lzma
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, TextIO, cast

from mmcli.errors import DataError
from mmcli.tables.finding import READ, STDIN

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".xlsx": "excel",
    ".xlsm": "excel",
}
PACKED = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".zip": "zip"}
REFUSED = {
    ".xls": 'Open it in a spreadsheet and save it as .xlsx or as "CSV UTF-8".',
    ".xlsb": 'Open it in a spreadsheet and save it as .xlsx or as "CSV UTF-8".',
    ".ods": 'Open it in a spreadsheet and save it as .xlsx or as "CSV UTF-8".',
    ".numbers": "Open it in Numbers and export it as CSV.",
    **dict.fromkeys((".feather", ".arrow", ".orc"), "Read it with pyarrow and write it with pyarrow.parquet.write_table."),
    **dict.fromkeys(
        (".dta", ".sav", ".sas7bdat", ".xpt", ".h5", ".hdf5"), "Read it with pandas and write it with DataFrame.to_parquet."
    ),
    **dict.fromkeys((".pkl", ".pickle", ".rds", ".rdata"), "Load it where you trust it, and save it as .csv or .parquet."),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), "Export the table or query as .csv."),
    **dict.fromkeys((".7z", ".rar", ".zst", ".tar", ".tgz"), "Unpack it first; .gz, .bz2, .xz and .zip are read as they are."),
}
"""Tables that are known and not read, and what to do with them."""
_ZIP = b"PK\x03\x04"
DAMAGED = (
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    EOFError,
    RuntimeError,
    NotImplementedError,
    OSError,
)
"""What unpacking raises of bytes that are damaged, encrypted, or packed in an unknown way."""


@dataclass(frozen=True)
class Source:
    """Bytes that can be read from their beginning as often as wanted."""

    name: Path
    """What the user calls it."""
    file: Path
    """Where the bytes lie."""
    packing: str = ""
    member: str = ""
    """The file in a zip archive."""

    def open(self, mode: str = "rb") -> BinaryIO:  # noqa: ARG002 - as of a path
        """The unpacked bytes."""
        if self.packing == "gz":
            return cast(BinaryIO, gzip.open(self.file))
        if self.packing == "bz2":
            return cast(BinaryIO, bz2.open(self.file))
        if self.packing == "xz":
            return cast(BinaryIO, lzma.open(self.file))
        if self.packing == "zip":
            return cast(BinaryIO, zipfile.ZipFile(self.file).open(self.member))
        return self.file.open("rb")

    @contextmanager
    def text(self, encoding: str, newline: str | None = "", errors: str = "strict") -> Iterator[TextIO]:
        """The unpacked bytes as text."""
        with self.open() as file, io.TextIOWrapper(cast(IO[bytes], file), encoding, errors, newline) as text:
            yield text

    def head(self, size: int = 1 << 16) -> bytes:
        """The first unpacked bytes.

        Raises:
            DataError: they cannot be unpacked.
        """
        with self.unpacking(), self.open() as file:
            return file.read(size)

    @contextmanager
    def unpacking(self) -> Iterator[None]:
        """Turns what a damaged archive raises into an error that names the file."""
        try:
            yield
        except DAMAGED as error:
            if not self.packing or (isinstance(error, OSError) and error.errno):
                raise
            raise DataError(
                f"{called(self.name)} cannot be unpacked: {str(error).rstrip('.').lower() or type(error).__name__}",
                "It is damaged, cut short or encrypted. Unpack it with the program that made it.",
            ) from None


def find(path: Path) -> tuple[Source, str]:
    """Where the bytes of the table at `path` are, and its format, by what they begin with and by the name.

    Raises:
        DataError: it is no table that is read, or an archive of several files; says what to do.
    """
    source = _unpacked(Source(path, path if path.is_file() else _spooled(path)))
    name = Path(source.member or path.name)
    if source.packing and not source.member and name.suffix.lower() in PACKED:
        name = name.with_suffix("")
    head = source.head()
    if not head:
        raise DataError(f"{called(path)} is empty", "A table needs a header and at least one row.")
    return source, _format(head, name, source)


def called(path: Path) -> str:
    """A table's path in a message."""
    return "standard input" if path == STDIN else str(path)


def _format(head: bytes, name: Path, source: Source) -> str:
    """What kind of table it is: its first bytes win over its name, which may be wrong."""
    path, suffix = source.name, name.suffix.lower()
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(_ZIP) and not source.packing:
        return "excel"
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        raise DataError(f"{called(path)} is a workbook of old Excel (.xls), or an encrypted one", REFUSED[".xls"])
    if suffix in REFUSED:
        raise DataError(f"{path}: tables in {suffix} are not read", REFUSED[suffix])
    known = FORMATS.get(suffix)
    if known == "excel":
        raise DataError(f"{path} is called {suffix} and is no workbook", f"Give a table: {READ}.")
    if known:
        return known
    if source.file != path:
        return "json" if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["} else "csv"
    raise DataError(
        f"{path}: cannot tell the format of a table from {suffix or 'no suffix'!r}", f"Known: {', '.join(FORMATS)}."
    )


def _unpacked(source: Source) -> Source:
    """The source with its packing, told by its first bytes."""
    head = source.head(1 << 16)
    for mark, packing in ((b"\x1f\x8b", "gz"), (b"BZh", "bz2"), (b"\xfd7zXZ\x00", "xz")):
        if head.startswith(mark):
            return Source(source.name, source.file, packing)
    if not head.startswith(_ZIP):
        return source
    packed = Source(source.name, source.file, "zip")
    with packed.unpacking(), zipfile.ZipFile(source.file) as archive:
        names = [item.filename for item in archive.infolist() if not item.is_dir()]
    if "xl/workbook.xml" in names:
        return source
    if "xl/workbook.bin" in names or {"mimetype", "content.xml"} <= set(names):
        raise DataError(f"{called(source.name)} is a workbook of a kind that is not read", REFUSED[".ods"])
    names = [name for name in names if not name.startswith("__MACOSX/") and not Path(name).name.startswith(".")]
    tables = [name for name in names if Path(name).suffix.lower() in FORMATS]
    if len(tables) != 1:
        shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
        raise DataError(
            f"{called(source.name)} holds {len(tables)} tables, expected one: {shown or 'nothing'}",
            "Unpack it, and give the table by its name; media beside it are found there too.",
        )
    return Source(source.name, source.file, "zip", tables[0])


def _spooled(path: Path) -> Path:
    """What comes through standard input or a pipe, in a file until the process ends: a table is read more than once."""
    if path == STDIN and (sys.stdin is None or sys.stdin.isatty()):
        raise DataError("- stands for standard input, which is a terminal", "Pipe a table into it: ... | mmcli predict -")
    with tempfile.NamedTemporaryFile(prefix="mmcli-", delete=False) as file:
        atexit.register(Path(file.name).unlink, missing_ok=True)
        if path == STDIN:
            shutil.copyfileobj(sys.stdin.buffer, file)
        else:
            with path.open("rb") as pipe:
                shutil.copyfileobj(pipe, file)
    return Path(file.name)
