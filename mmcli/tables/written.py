"""One number as it is written: its sign, its digits with their marks, what stands before and after them.

Knows the grammar alone, of all countries at once; which mark stands before decimals is for the column to decide (`numbers`).
"""

from __future__ import annotations

import calendar
import re
import unicodedata
from typing import NamedTuple

_CODES = """
AED ARS AUD BDT BGN BRL CAD CHF CLP CNH CNY COP CZK DKK EGP EUR GBP GHS HKD HUF IDR ILS INR ISK JPY KES KRW KWD KZT LKR MAD MXN
MYR NGN NOK NZD PEN PHP PKR PLN QAR RMB RON RSD RUB SAR SEK SGD THB TND TRY TWD TZS UAH UGX USD UYU UZS VND XAF XAU XOF ZAR
"""
_CURRENCIES = frozenset(_CODES.split())
"""Codes that stand before or behind an amount: of ISO 4217, and RMB."""
_SHORT = frozenset({"Rs", "rs", "Kr", "kr", "RMB", "rmb"})
_COUNTRIES = frozenset({"US", "R", "A", "C", "HK", "NT", "S", "NZ", "MX", "CA", "AU", "CN", "JP", "RS", "Rs"})
"""What may stand at a symbol: US$, R$."""
_SYMBOLS = {"€": "EUR", "£": "GBP", "₹": "INR", "₩": "KRW", "元": "CNY", "円": "JPY", "圆": "CNY", "块": "CNY"}
_KNOWN = """
kg g mg µg lb oz t st km m cm mm mi ft in yd l ml cl dl gal h hr hour min minute s sec second ms d day w week wk month mo y yr
year kb mb gb tb pb b kib mib gib w kw mw hz khz mhz ghz v mv a ma ah mah px pt pc pcs x ° °c °f c f k % ‰ pa hpa kpa bar psi j
kj kcal cal wh kwh mwh m2 m3 km2 ha ac sqft km/h mph m/s mg/dl mmol/l usd eur gbp cny jpy krw inr $ ¥
岁 年 个 人 米 公里 千米 千克 公斤 斤 克 吨 厘米 毫米 分钟 小时 天 次 件 页 ℃
"""
UNITS = frozenset(_KNOWN.split())
"""Units that may stand beside each other in one column."""
_MYRIADS = {
    "万亿": 12,
    "亿": 8,
    "億": 8,
    "억": 8,
    "千万": 7,
    "百万": 6,
    "十万": 5,
    "万": 4,
    "萬": 4,
    "만": 4,
    "千": 3,
    "천": 3,
    "百": 2,
}
"""Powers of ten, as all magnitudes here."""
_WORDS = {
    **dict.fromkeys(["thousand", "tsd"], 3),
    **dict.fromkeys(["lakh", "lakhs", "lac", "lacs"], 5),
    **dict.fromkeys(["million", "millions", "mio", "mln", "mn"], 6),
    **dict.fromkeys(["crore", "crores", "cr"], 7),
    **dict.fromkeys(["billion", "billions", "bn", "mrd", "mlrd"], 9),
    "trillion": 12,
}
LETTERS = {"k": 3, "m": 6, "b": 9}
"""What these mean straight after a number, where a column shows that they are no units."""
_NO_UNITS = frozenset(
    [
        *(name.lower() for name in calendar.month_abbr[1:]),
        *(name.lower() for name in calendar.month_name[1:]),
        "am",
        "pm",
        "a",
        "p",
    ]
)
_ORDINALS = frozenset({"st", "nd", "rd", "th"})
_MARKS = str.maketrans({"−": "-", "–": "-", "—": "-", "’": "'", "‘": "'", "ʼ": "'", "`": "'", "٬": "'", "٫": ".", "⁄": "/"})
_LONGEST = 80
_SIMPLE = re.compile(r"([+-]?)([$€£¥]?)([0-9.,]*[0-9])(%?)")
AMOUNTS = {"": "", "$": "$", "€": "eur", "£": "gbp", "¥": "¥"}
"""The units of amounts that are written in the simplest way."""
_SHAPE = re.compile(
    r"""(?P<before>(?:[^\d.,]|(?<=[A-Za-z])\.|\.(?![\d]))*)
        (?P<core>[.,]?\d(?:[\d.,' ]*\d)?[.,]?)
        (?P<exponent>(?:[eE][+-]?\d+(?![\w]))?)
        (?P<after>.*)""",
    re.VERBOSE | re.DOTALL,
)
_MYRIAD = "|".join(f"{name}(?![克米瓦卡焦赫帕])" if name == "千" else name for name in _MYRIADS)
_PIECE = re.compile(rf"\s*([\d.,' ]*\d)\s*({_MYRIAD})")
_UNIT = re.compile(
    r"°\s?[A-Za-z]?|[\"'$]|(?:[^\W\d_]+\.?)(?:\^?[23])?(?:\s?/\s?[^\W\d_]+(?:\^?[23])?)?|(?:sq|fl|cu)\.? ?[a-z]+"
)


class Written(NamedTuple):
    """A number taken apart."""

    parts: tuple[tuple[str, int], ...]
    """Digits with their marks, each with a power of ten: `3亿5千万` has two."""
    sign: int
    unit: str
    """In lower case; of currencies what stands before the amount."""
    attached: bool
    """Whether the unit follows without a blank."""
    percent: bool = False


def written(cell: str) -> Written | None:
    """The parts of a number; None if the cell is none."""
    if len(cell) > _LONGEST:
        return None
    simple = _SIMPLE.fullmatch(cell)
    if simple:  # most cells, at a third of the cost
        sign, money, core, share = simple.groups()
        return Written(((core, -2 if share else 0),), -1 if sign == "-" else 1, AMOUNTS[money], True, bool(share))
    text = _normal(cell)
    shape = _SHAPE.fullmatch(text) if text else None
    if shape is None:
        return None
    before, core, after = shape["before"].strip(), shape["core"], shape["after"]
    sign, before, after, core = _sign(before, core, after)
    money = _currency(before) if before else ""
    if not sign or money is None:
        return None
    parts: tuple[tuple[str, int], ...] = ((core, 0),)
    if after and _PIECE.match(core + after):
        parts, after = _pieces(core + after)
    attached = not after.startswith(" ")
    after = after.strip()
    percent = after in {"%", "‰"}
    power, after = (-2 if after == "%" else -3, "") if percent else _word(after)
    power += int(shape["exponent"][1:] or 0)
    unit = _unit(after)
    if money and unit in LETTERS:  # of an amount, they are no units: $1.2M
        power, unit = power + LETTERS[unit], ""
    if unit is None or (unit and money):
        return None
    return Written(tuple((core, own + power) for core, own in parts), sign, unit or money, attached, percent)


def _normal(cell: str) -> str:
    """Full-width forms, digits of all scripts, blanks and dashes as ASCII; empty where raised digits or fractions forbid it."""
    text = cell.strip()
    if text.isascii():
        return text
    for place, char in enumerate(text):
        if unicodedata.category(char) == "No" and not (place and text[place - 1].isalpha() and char in "²³"):
            return ""
    text = unicodedata.normalize("NFKC", text).translate(_MARKS)
    return "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text).strip()


def _sign(before: str, core: str, after: str) -> tuple[int, str, str, str]:
    """Minus or plus (0: neither makes sense), and the rest without it: `-$5`, `$-5`, `(5)`, `5-`, `5,-`."""
    negative = 0
    if core[-1] in ".," and after.strip() in {"-", "--"}:  # Swiss and German prices: 5.-, 5,-
        return 1, before, "", core[:-1]
    if before.count("(") == 1 and ")" in after:
        before, after, negative = before.replace("(", "").strip(), after.replace(")", "", 1), negative + 1
    if after.startswith("-"):
        after, negative = after[1:], negative + 1
    minus = before.count("-")
    plus = before.count("+")
    before = before.replace("-", "").replace("+", "").strip()
    ok = minus + plus + negative <= 1
    return (0 if not ok else -1 if minus or negative else 1), before, after, core


def _currency(before: str) -> str | None:
    """The currency that stands before an amount; None if what does is none."""
    symbols = [char for char in before if unicodedata.category(char) == "Sc"]
    letters = re.sub(r"[\s.]", "", "".join(char for char in before if unicodedata.category(char) != "Sc"))
    if len(symbols) > 1 or (symbols and letters and letters not in _COUNTRIES | _CURRENCIES):
        return None
    if symbols:
        return _SYMBOLS.get(symbols[0], letters.lower() + symbols[0]).lower()
    dotted = before.endswith(".") and letters in {"Fr", "fr", "SFr", "R"}  # without a dot they may be anything
    return letters.lower() if letters in _CURRENCIES or letters in _SHORT or dotted else None


def _pieces(text: str) -> tuple[tuple[tuple[str, int], ...], str]:
    """`1亿2000万元`, `3.5万`: each part with its magnitude, falling; and what follows."""
    parts: list[tuple[str, int]] = []
    place = 0
    while piece := _PIECE.match(text, place):
        power = _MYRIADS[piece[2]]
        if parts and power >= parts[-1][1]:
            break
        parts.append((piece[1].strip(), power))
        place = piece.end()
    rest = re.match(r"\s*(\d+)", text[place:])
    if rest:  # 1万2345
        parts.append((rest[1], 0))
        place += rest.end()
    return tuple(parts), text[place:]


def _word(after: str) -> tuple[int, str]:
    """The power of ten that a word of magnitude means (0: there is none), and what follows it."""
    first, _, rest = after.partition(" ")
    power = _WORDS.get(first.lower().rstrip("."))
    return (0, after) if power is None else (power, rest.strip())


def _unit(after: str) -> str | None:
    """A unit in one spelling: lower case, without a dot or the s of a plural; None if that is no unit."""
    if not after:
        return ""
    if unicodedata.category(after[-1]) == "Sc" and (len(after) == 1 or after[:-1].strip().upper() in _CURRENCIES):
        return _SYMBOLS.get(after[-1], after.strip()).lower()
    if after in _SYMBOLS:
        return _SYMBOLS[after].lower()
    name = after.lower().rstrip(".").replace("^", "").replace(" ", "") if _UNIT.fullmatch(after) and len(after) <= 14 else ""
    if name in _ORDINALS:
        return ""
    if not name or name in _NO_UNITS:
        return None
    return name.removesuffix("s") if len(name) > 2 and name[-2] != "s" and name[-3:] != "m/s" else name
