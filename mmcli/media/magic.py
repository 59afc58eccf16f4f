"""What a file is, told by its first bytes. Knows nothing of names, addresses or decoders."""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD_BYTES = 1024
"""Bytes that tell all that can be told here."""


@dataclass(frozen=True)
class Kind:
    """What some bytes begin like."""

    family: str
    """image, audio, container (of pictures, sound or both), vector; other: known, and none of these; empty: unknown."""
    name: str


_AT_0: list[tuple[bytes, str, str]] = [
    (b"\xff\xd8\xff", "image", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "image", "PNG"),
    (b"GIF87a", "image", "GIF"),
    (b"GIF89a", "image", "GIF"),
    (b"II*\0", "image", "TIFF"),
    (b"MM\0*", "image", "TIFF"),
    (b"II+\0", "image", "TIFF"),
    (b"MM\0+", "image", "TIFF"),
    (b"\0\0\0\x0cjP  ", "image", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "image", "JPEG 2000"),
    (b"qoif", "image", "QOI"),
    (b"8BPS", "image", "PSD"),
    (b"DDS ", "image", "DDS"),
    (b"\x01\xda\x00", "image", "SGI"),
    (b"\x01\xda\x01", "image", "SGI"),
    (b"fLaC", "audio", "FLAC"),
    (b"ID3", "audio", "MP3"),
    (b"#!AMR", "audio", "AMR"),
    (b"caff", "audio", "CAF"),
    (b".snd", "audio", "AU"),
    (b"RF64", "audio", "WAV"),
    (b"riff\x2e\x91", "audio", "W64"),
    (b"wvpk", "audio", "WavPack"),
    (b"MAC ", "audio", "Monkey's Audio"),
    (b"TTA1", "audio", "TTA"),
    (b"\x7f\xfe\x80\x01", "audio", "DTS"),
    (b"\x1a\x45\xdf\xa3", "container", "Matroska or WebM"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "container", "ASF (WMV, WMA)"),
    (b"FLV\x01", "container", "FLV"),
    (b"OggS", "container", "Ogg"),
    (b"\0\0\1\xba", "container", "MPEG program stream"),
    (b"\0\0\1\xb3", "container", "MPEG video"),
    (b"DKIF", "container", "IVF"),
    (b"\x06\x0e\x2b\x34\x02\x05\x01\x01", "container", "MXF"),
    (b"\x93NUMPY", "vector", "NumPy array"),
    (b"%PDF-", "other", "PDF"),
    (b"%!PS", "other", "PostScript"),
    (b"PK\x03\x04", "other", "ZIP"),
    (b"PAR1", "other", "Parquet"),
    (b"\x1f\x8b", "other", "gzip"),
    (b"MThd", "other", "MIDI"),
    (b"\xff\x0a", "other", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "other", "JPEG XL"),
    (b"\x76\x2f\x31\x01", "other", "OpenEXR"),
    (b"#?RADIANCE", "other", "Radiance HDR"),
    (b"SIMPLE  =", "other", "FITS"),
    (b"\x89HDF\r\n\x1a\n", "other", "HDF5"),
    (b".RMF", "other", "RealMedia"),
    (b"SQLite format 3\0", "other", "SQLite"),
]
_FORMS = {
    b"WAVE": ("audio", "WAV"),
    b"AVI ": ("container", "AVI"),
    b"WEBP": ("image", "WEBP"),
    b"AIFF": ("audio", "AIFF"),
    b"AIFC": ("audio", "AIFF"),
}
"""What stands at byte 8 of RIFF and of IFF."""
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF = {b"avif", b"avis"}
_BOXES = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_PNM = re.compile(rb"P[1-7Ff][ \t\r\n]+(#|\d|WIDTH)")


def kind_of(head: bytes) -> Kind:
    """What a file is that begins with these bytes, `HEAD_BYTES` of them or all it has."""
    for start, family, name in _AT_0:
        if head.startswith(start):
            return Kind(family, name)
    if head[:4] in {b"RIFF", b"FORM"} and head[8:12] in _FORMS:
        return Kind(*_FORMS[head[8:12]])
    if head[4:8] in _BOXES:
        return _of_boxes(head)
    return _by_look(head) or _document(head)


def is_weak(kind: Kind) -> bool:
    """Whether so few bits tell it that other bytes begin so now and then."""
    return kind.name in {"MPEG audio", "BMP", "PNM", "PCX", "ICO", "AC-3", "MPEG transport stream", "SGI", "MP3"}


def _of_boxes(head: bytes) -> Kind:
    """ISO base media: the brands say whether it is a picture (ISO/IEC 23008-12) or a film."""
    if head[4:8] == b"ftyp":
        brands = {head[place : place + 4] for place in (8, *range(16, min(int.from_bytes(head[:4], "big"), 128), 4))}
        if brands & _AVIF:
            return Kind("image", "AVIF")
        if head[8:12] in _HEIF or (brands & _HEIF and not brands & {b"isom", b"mp42", b"qt  "}):
            return Kind("image", "HEIC")
    return Kind("container", "MP4 or MOV")


def _by_look(head: bytes) -> Kind | None:
    """Those that no fixed bytes mark."""
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return Kind("image", "BMP")
    if head[:4] == b"\0\0\1\0" and head[4:6] != b"\0\0" and head[5:6] == b"\0":
        return Kind("image", "ICO")
    if head[:1] == b"\x0a" and head[1:2] in {b"\0", b"\2", b"\3", b"\4", b"\5"} and head[2:3] == b"\1":
        return Kind("image", "PCX")
    if _PNM.match(head):
        return Kind("image", "PNM")
    if head[:2] == b"\x0b\x77":
        return Kind("audio", "AC-3")
    if len(head) > 2 and head[0] == 0xFF and head[1] in {0xFB, 0xFA, 0xF3, 0xF2, 0xE3, 0xE2, 0xF1, 0xF9, 0xFD, 0xFC}:
        return Kind("audio", "MPEG audio")
    for first, step in ((0, 188), (4, 192)):
        if len(head) > first + 2 * step and all(head[first + place * step] == 0x47 for place in range(3)):
            return Kind("container", "MPEG transport stream")
    return Kind("other", "DICOM") if head[128:132] == b"DICM" else None


def _document(head: bytes) -> Kind:
    if not head.strip():
        return Kind("", "empty" if not head else "blank")
    if b"\0" in head:
        return Kind("", "of an unknown kind")
    lower = head[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in head.lower():
        return Kind("other", "SVG")
    if lower.startswith((b"<!doctype html", b"<html")):
        return Kind("other", "HTML")
    try:
        head[: max(len(head) - 3, 1)].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 8:
            return Kind("", "of an unknown kind")
    return Kind("other", "text")
