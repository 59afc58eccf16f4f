"""Which encoding lines of bytes are in, where neither a mark nor UTF-8 tells: a guess by the letters that come of it.

The encodings of East Asia share their bytes, and differ in which characters are the common ones: each is asked how many of the
characters that it makes are everyday ones of its language. Those of other scripts are left to charset-normalizer, which knows
their letters; among those of Latin letters it is no better than chance in short texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import charset_normalizer

_OWN_LETTERS = ("cp1251", "koi8_r", "cp866", "cp1253", "cp1255", "cp1256", "cp874")
"""Encodings of a byte a character whose words hold none of ASCII's letters."""
_OLD_IN_WORDS = re.compile(rb"[A-Za-z][\x80-\x89\x8b\x8d\x8f-\x91\x93-\x99\x9b\x9d][a-z]|[\x81\x8d\x8f\x90\x9d]")
"""Letters where Windows has quotation marks, or nothing: of DOS or old Macs."""
_OF_DOS = re.compile(rb"[\x81\x82\x84\x87\x94\xa0-\xa4\xe1]")
_OF_MACS = re.compile(rb"[\x8a\x8d-\x90\x96\x97\x9a\x9c\x9f\xa7\xd5]")
_TURKISH = re.compile(rb"[\xfe\xf0\xde\xd0]")
_ICELANDIC = re.compile(rb"[\xe1\xe9\xed\xf3\xfa\xe6]")
_LETTER = rb"[A-Za-z\x8c\x9c\x9f\xc0-\xff]"
_CENTRAL_EUROPEAN = (
    re.compile(_LETTER + rb"[\xb3\xb9\xba\xbf]" + _LETTER),  # Polish and Romanian letters; elsewhere signs, in no word
    re.compile(rb"\xf8(?s:.)*[\x9a\x9e\xec]|[\x9a\x9e\xec](?s:.)*\xf8"),  # Czech r and e with a hook
    re.compile(rb"(?s)(?=.*\xf5)(?=.*[\xf6\xfc])(?=.*[\xe1\xe9\xed])"),  # Hungarian o with two strokes
)
_HEBREW = re.compile(rb"[\xe0-\xfa]{12,}")
_LEVEL = 0.9
"""Share of everyday characters from which on an encoding of East Asia is believed."""


@dataclass(frozen=True)
class _Script:
    """An encoding of two bytes a character, and the pairs of bytes of everyday characters: lead, trail."""

    name: str
    everyday: re.Pattern[bytes]
    pair: re.Pattern[bytes]
    """Any of its characters; what is not ASCII and no pair is damage, or another encoding."""


def _script(name: str, pair: bytes, everyday: bytes) -> _Script:
    return _Script(name, re.compile(everyday, re.DOTALL), re.compile(pair, re.DOTALL))


_EUC_PAIR = rb"[\xa1-\xfe][\xa1-\xfe]"
_CHINESE = _script(
    "gb18030",
    rb"[\x81-\xfe][\x30-\x39][\x81-\xfe][\x30-\x39]|[\x81-\xfe][\x40-\x7e\x80-\xfe]|\x80",
    rb"[\xa1-\xa3\xb0-\xd7][\xa1-\xfe]",
)
_LOW = re.compile(rb"[\xb0-\xbf][\xa1-\xfe]|[\xc0-\xf7][\xa1-\xbf]")
"""Half of all Chinese characters, and hardly any two letters of Cyrillic, Greek, Hebrew or Arabic."""
_RARER_CHINESE = re.compile(rb"[\xd8-\xf7][\xa1-\xfe]", re.DOTALL)
"""The second level of GB 2312: everyday in names and trades, and never most of a text."""
_KOREAN = _script("cp949", rb"[\x81-\xfe][\x41-\x5a\x61-\x7a\x81-\xfe]", rb"[\xa1-\xa3\xb0-\xc8][\xa1-\xfe]")
_HANGUL = re.compile(rb"[\xb0-\xc8][\xa1-\xfe]", re.DOTALL)
_JAPANESE_EUC = _script("euc_jp", rb"\x8f[\xa1-\xfe]{2}|\x8e[\xa1-\xdf]|" + _EUC_PAIR, rb"[\xa1-\xa5\xb0-\xcf][\xa1-\xfe]")
_KANA_EUC = re.compile(rb"[\xa4\xa5][\xa1-\xf6]", re.DOTALL)
_JAPANESE = _script(
    "cp932",
    rb"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]|[\xa1-\xdf]",
    rb"[\xa1-\xdf]|[\x81-\x83][\x40-\x7e\x80-\xfc]|\x88[\x9f-\xfc]|[\x89-\x97][\x40-\x7e\x80-\xfc]|\x98[\x40-\x72]",
)
_WIDE = re.compile(rb"[\x81-\x98].", re.DOTALL)
"""What tells Japanese from other bytes that would be half-width kana."""
_TAIWANESE = _script(
    "big5", rb"[\x81-\xfe][\x40-\x7e\xa1-\xfe]", rb"[\xa1-\xa3][\x40-\x7e\xa1-\xfe]|[\xa4-\xc6][\x40-\x7e\xa1-\xfe]"
)


def guess(lines: Sequence[bytes]) -> str:
    """The likeliest encoding of lines, each of which has bytes beyond ASCII."""
    return _east_asian(lines) or _single_byte(b"".join(lines))


def _east_asian(lines: Sequence[bytes]) -> str:
    japanese_euc, kana = _shares(lines, _JAPANESE_EUC, _KANA_EUC)
    if japanese_euc >= _LEVEL and kana >= 0.1:
        return "euc_jp"
    korean, hangul = _shares(lines, _KOREAN, _HANGUL)
    characters = sum(len(_HANGUL.findall(line)) for line in lines)
    # Half of what Chinese writes lies beyond the rows that Korean has: many characters, none there, are no chance.
    if korean >= 0.97 and hangul >= 0.5 and characters >= 8:
        return "cp949"
    chinese, rarer = _shares(lines, _CHINESE, _RARER_CHINESE)
    low = _shares(lines, _CHINESE, _LOW)[1]
    if chinese + rarer >= _LEVEL and (low >= 0.2 or (chinese >= 1.5 * rarer and characters < 12)):
        return "gb18030"
    japanese, wide = _shares(lines, _JAPANESE, _WIDE)
    taiwanese = _shares(lines, _TAIWANESE)[0]
    if max(japanese * (wide >= 0.3), taiwanese) < _LEVEL:
        return ""
    return "big5" if taiwanese > japanese or wide < 0.3 else "cp932"


def _shares(lines: Sequence[bytes], script: _Script, other: re.Pattern[bytes] | None = None) -> tuple[float, float]:
    """Of all that is not ASCII, the share that are everyday characters of the script, and the share of another kind.

    A line with bytes that are no character of the script counts as damaged whole: a few may be.
    """
    everyday = more = characters = damaged = 0
    for line in lines:
        found = script.pair.findall(line)
        if script.pair.sub(b"", line).isascii():
            characters += len(found)
            everyday += sum(script.everyday.fullmatch(pair) is not None for pair in found)
            more += sum(other.fullmatch(pair) is not None for pair in found) if other else 0
        else:
            damaged += 1
    if not characters or damaged > 0.1 * len(lines):
        return 0.0, 0.0
    return everyday / characters, more / characters


def _single_byte(sample: bytes) -> str:
    """Of scripts whose words hold no letters of ASCII, what charset-normalizer makes of it; of Latin ones, whose encodings
    differ in few letters, what these tell; Windows's for Western Europe where they tell nothing."""
    words = re.findall(rb"[A-Za-z\x80-\xff]+", sample)
    own = b"".join(word for word in words if len(word) > 1 and not re.search(rb"[A-Za-z]", word))
    if len(own) > 0.6 * len(re.findall(rb"[\x80-\xff]", sample)):
        best = charset_normalizer.from_bytes(sample, cp_isolation=[*_OWN_LETTERS]).best()
        return "cp1255" if _HEBREW.fullmatch(own) else best.encoding if best else "cp1251"
    if _OLD_IN_WORDS.search(sample):
        return "cp850" if len(_OF_DOS.findall(sample)) > len(_OF_MACS.findall(sample)) else "mac_roman"
    if _TURKISH.search(sample) and not _ICELANDIC.search(sample):
        return "cp1254"
    if any(kind.search(sample) for kind in _CENTRAL_EUROPEAN):
        return "cp1250"
    # Latin-1 is Windows-1252 without what stands at 0x80 to 0x9f.
    return "cp1252" if re.search(rb"[\x80-\x9f]", sample) else "latin-1"
