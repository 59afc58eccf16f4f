"""Which text encoding a file uses. Knows nothing of columns.

Told by the byte-order mark, else UTF-8 if the whole file is; else guessed, from lines with other letters than ASCII's, and the
guess checked on the whole file. Whatever is no mark and no UTF-8 is a guess, and said to be one.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmcli.errors import DataError
from mmcli.tables import scripts
from mmcli.tables.source import Source

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_EVIDENCE_BYTES = 1 << 18
_LONGEST_LINE = 1 << 16
_READ_BYTES = 1 << 22
_NAMED = 5
"""Damaged lines that an error lists."""
_SURELY_UTF8 = 4
"""Characters of more than one byte from which on a line that is UTF-8 is so by no chance."""


@dataclass(frozen=True)
class Encoding:
    """What a file is written in."""

    name: str
    example: str = ""
    """Of a guess: a line as it is read so."""


def detect(source: Source | Path, header: bool = True) -> Encoding:
    """The encoding of a file, all of which it reads; its first line is no row where it is a `header`.

    Raises:
        DataError: no encoding reads it whole; names the lines with damaged bytes.
    """
    with source.open("rb") as file:
        head = file.read(_LONGEST_LINE)
    marked = next((name for mark, name in _BOMS.items() if head.startswith(mark)), "")
    name = marked or _wide(head) or "utf-8"
    if not _reads(source, name):
        if name != "utf-8":
            raise _damage(source, name, "the byte-order mark at its beginning says" if marked else "it looks like", header)
        name = _guess(source, header)
    if name in {"utf-8", marked}:
        return Encoding(name)
    return Encoding(name, _example(source, name))


def detect_encoding(source: Source | Path) -> str:
    """The name of a file's encoding: see `detect`."""
    return detect(source).name


def _wide(head: bytes) -> str:
    """UTF-16 or UTF-32 without a mark: tables are full of characters (digits, delimiters, line ends) with zeros beside them."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if len(head) < 4 or max(even, odd) < 0.02 * len(head):
        return ""
    quarters = [head[i::4].count(0) / max(len(head) // 4, 1) for i in range(4)]
    if min(quarters[2], quarters[3]) > 0.9:
        return "utf-32-le"
    if min(quarters[0], quarters[1]) > 0.9:
        return "utf-32-be"
    ends = max(head.count(b"\n"), head.count(b"\r"))
    for name, zeros, others, mark in (("utf-16-le", odd, even, b"%b\0"), ("utf-16-be", even, odd, b"\0%b")):
        # A stray zero makes no UTF-16: the ends of lines have one each.
        if zeros > 8 * others and max(head.count(mark % b"\n"), head.count(mark % b"\r")) > 0.2 * ends:
            return name
    return ""


def _reads(source: Source | Path, name: str) -> bool:
    decoder = codecs.getincrementaldecoder(name)()
    try:
        with source.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _guess(source: Source | Path, header: bool) -> str:
    """The encoding of a file that is not UTF-8.

    Raises:
        DataError: it does not read the whole file, or some lines are surely UTF-8.
    """
    lines = _evidence(source)
    utf8 = [line for line in lines if _is_utf8(line)]
    if len(utf8) >= 0.5 * len(lines):
        raise _damage(source, "utf-8", "most of its lines are", header)
    name = scripts.guess([line for line in lines if not _is_utf8(line)])
    if any(_letters(line) >= _SURELY_UTF8 for line in utf8):
        raise _mixture(source, name, header)
    if not _reads(source, name):
        raise _damage(source, name, "most of its lines look like", header)
    return name


def _evidence(source: Source | Path) -> list[bytes]:
    """The first lines that are not all ASCII."""
    found, size = [], 0
    for _, line in _lines(source):
        if not line.isascii():
            found.append(line)
            size += len(line)
            if size > _EVIDENCE_BYTES:
                break
    return found


def _lines(source: Source | Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, bytes) of each line, long ones in parts."""
    number = 1
    with source.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            yield number, line
            number += line.endswith(b"\n") or line.count(b"\r")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _letters(line: bytes) -> int:
    return sum(ord(char) > 127 for char in line.decode("utf-8"))


def _example(source: Source | Path, name: str) -> str:
    """A short piece of the first line with letters beyond ASCII, as it is read."""
    decoder = codecs.getincrementaldecoder(name)(errors="replace")
    with source.open("rb") as file:
        while chunk := file.read(_LONGEST_LINE):
            for line in decoder.decode(chunk).splitlines():
                place = next((i for i, char in enumerate(line) if ord(char) > 127), None)
                if place is not None:
                    return line[max(0, place - 10) : place + 40].strip()
    return ""


def _mixture(source: Source | Path, name: str, header: bool) -> DataError:
    """Some lines are UTF-8, and some are something else."""
    places, whole = list[int](), True
    for number, line in _lines(source):
        whole = whole and (bool(places) or line.count(b'"') % 2 == 0)
        if not line.isascii() and _is_utf8(line) and _letters(line) >= _SURELY_UTF8:
            places.append(number)
    return DataError(
        f"{_name(source)} is written in more than one encoding: {_listed(places, header, whole)} UTF-8, "
        f"the others look like {name}",
        "Save the table anew in one encoding, UTF-8 best; or read it all as one with --encoding NAME.",
    )


def _damage(source: Source | Path, name: str, why: str, header: bool) -> DataError:
    """Which lines hold bytes that the encoding does not have."""
    if name.startswith(("utf-16", "utf-32")):
        return DataError(
            f"{_name(source)} is damaged: {why} {name}, and {_first_wide_damage(source, name)} cannot be read so",
            "Save it anew, UTF-8 best; or give the right encoding with --encoding NAME.",
        )
    places, example, whole = list[int](), b"", True
    for number, line in _lines(source):
        whole = whole and (bool(places) or line.count(b'"') % 2 == 0)
        try:
            line.decode(name)
        except UnicodeDecodeError as error:
            example = example or line[max(0, error.start - 6) : error.start + 6]
            places.append(number)
    them = "it" if len(places) == 1 else "them"
    return DataError(
        f"{_name(source)}: {why} {name}, but {_listed(places, header, whole)} not; bytes in the first: {example!r}",
        f"Mend or remove {them} (rows pasted from another encoding, or cut short), or give the right --encoding.",
    )


def _first_wide_damage(source: Source | Path, name: str) -> str:
    """Where text of wide characters ends to be such: its lines cannot be told by their bytes."""
    decoder, line = codecs.getincrementaldecoder(name)(errors="replace"), 1
    with source.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            before, found, _ = decoder.decode(chunk).partition("\ufffd")
            line += before.count("\n")
            if found:
                return f"line {line}"
    return f"its end (line {line})"


def _listed(places: list[int], header: bool, whole: bool) -> str:
    """`line 7 (row 6) is`, or `lines 7, 9, ... (12 lines) are`; the row only where no cell before it seems to span lines."""
    if len(places) == 1:
        row = f" (row {places[0] - header})" if whole and places[0] > header else ""
        return f"line {places[0]}{row} is"
    more = f", ... ({len(places):,} lines)" if len(places) > _NAMED else ""
    return f"lines {', '.join(map(str, places[:_NAMED]))}{more} are"


def _name(source: Source | Path) -> Path:
    return source.name if isinstance(source, Source) else source


def check_encoding(source: Source | Path, encoding: str) -> None:
    """Raises DataError with the line of the first byte that the encoding cannot read, or if it has no such name."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
        codecs.lookup(encoding).incrementaldecoder().decode(b"")
        "".encode(encoding)
    except (LookupError, TypeError, AttributeError):
        raise DataError(
            f"--encoding {encoding}: no such encoding", "E.g. utf-8, gb18030, latin-1, cp1252, shift_jis, big5."
        ) from None
    line = 1
    with source.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            try:
                text = decoder.decode(chunk)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                found = error.object[error.start : error.start + 4]
                raise DataError(
                    f"{_name(source)}, line {line}: the bytes {found!r} are not {encoding}",
                    "Give the right one with --encoding, or leave it out to have it detected.",
                ) from None
            line += text.count("\n")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise DataError(f"{_name(source)}, line {line}: its last character is cut short", "The file is not whole.") from None
