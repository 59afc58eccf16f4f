"""Which text encoding and delimiter a file uses. Knows nothing of columns."""

from __future__ import annotations

import codecs
import csv
from pathlib import Path

from mmcli.errors import DataError

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SAMPLE_BYTES = 1 << 18
_READ_BYTES = 1 << 22
DELIMITERS = ",\t;|"


def detect_encoding(path: Path) -> str:
    """UTF-8 or UTF-16 by byte-order mark, else UTF-8 if the whole file is, else GB18030 or Latin-1 by the look of it."""
    with path.open("rb") as file:
        head = file.read(4)
        for mark, name in _BOMS.items():
            if head.startswith(mark):
                return name
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := file.read(_READ_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            # The surroundings of the first byte that is not UTF-8 are where the evidence lies.
            file.seek(max(0, file.tell() - len(chunk) + error.start - _SAMPLE_BYTES // 2))
            return _gb18030_or_latin1(file.read(_SAMPLE_BYTES))
    return "utf-8"


def _gb18030_or_latin1(sample: bytes) -> str:
    """GB18030 if nearly all that is not ASCII decodes to characters of GB 2312, which covers everyday Chinese.

    Latin-1 text read as GB18030 gives rare characters instead: an accented letter is seldom followed by another.
    """
    text = sample.decode("gb18030", errors="replace")
    foreign = [char for char in text if ord(char) > 127]
    common = sum(_is_gb2312(char) for char in foreign)
    return "gb18030" if foreign and common >= 0.9 * len(foreign) else "latin-1"


def _is_gb2312(char: str) -> bool:
    try:
        char.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


def check_encoding(path: Path, encoding: str) -> None:
    """Raises DataError with the line of the first byte that the encoding cannot read, or if it has no such name."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise DataError(
            f"--encoding {encoding}: no such encoding", "E.g. utf-8, gb18030, latin-1, cp1252, shift_jis, big5."
        ) from None
    line = 1
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line += chunk[: error.start].count(b"\n")
                raise DataError(
                    f"{path}, line {line}: the bytes {error.object[error.start : error.start + 4]!r} are not {encoding}",
                    "Give the right one with --encoding, or leave it out to have it detected.",
                ) from None
            line += chunk.count(b"\n")


def detect_delimiter(path: Path, encoding: str) -> str:
    """The delimiter that cuts the first records into the same number of fields, more than one; a comma if none does."""
    if path.suffix.lower() in {".tsv", ".tab"}:
        return "\t"
    best, best_fields = ",", 1
    for delimiter in DELIMITERS:
        counts = _field_counts(path, encoding, delimiter)
        if counts and counts[0] > best_fields and counts.count(counts[0]) >= 0.9 * len(counts):
            best, best_fields = delimiter, counts[0]
    return best


def _field_counts(path: Path, encoding: str, delimiter: str, records: int = 50) -> list[int]:
    counts: list[int] = []
    with path.open(encoding=encoding, newline="") as file:
        try:
            for record in csv.reader(file, delimiter=delimiter):
                if record:
                    counts.append(len(record))
                if len(counts) == records:
                    break
        except csv.Error:
            return []
    return counts
