"""Dates and times as people and programs write them, decided for a column as a whole.

Owns which way of writing a column follows, from the evidence of all cells: `03/04/2024` alone may be two days,
beside `25/04/2024` only one. ISO and the commonest ways are read directly; whatever else dateutil knows, by it.
Knows nothing of features.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from itertools import product

_DAYS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%Y年%m月%d日", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y",
    "%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y",
    "%a, %d %b %Y",
)  # fmt: skip
_TIMES = ("", "%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M:%S.%f %p")
DATE_FORMATS = (
    *(f"{day} {time}".strip() for time, day in product(_TIMES, _DAYS) if not (day == "%Y%m%d" and time)),
    *(f"%Y-%m-%dT{time}" for time in _TIMES[1:4]),
    "%Y%m%dT%H%M%S",
    "%Y年%m月",
    "%Y-%m",
    *_TIMES[1:],
)
"""How dates are written, as strptime knows them; where several fit a whole column, the first is taken."""
_ISO = tuple(f"%Y-%m-%d{mark}{time}" for mark in "T " for time in _TIMES[1:4])
FREE = "any"
FREE_DAY_FIRST = "any, the day first"
"""Whatever dateutil understands; of `03/04/2024` the month or the day comes first."""
_NUMERIC = {
    "%Y/%m/%d": ("/", (0, 1, 2)),
    "%Y.%m.%d": (".", (0, 1, 2)),
    "%m/%d/%Y": ("/", (2, 0, 1)),
    "%d/%m/%Y": ("/", (2, 1, 0)),
    "%d.%m.%Y": (".", (2, 1, 0)),
    "%d-%m-%Y": ("-", (2, 1, 0)),
    "%m-%d-%Y": ("-", (2, 0, 1)),
}
"""The mark between the numbers of a day, and where year, month and day stand."""
_SWAPPED = {"%m/%d/%Y": "%d/%m/%Y", "%m/%d/%y": "%d/%m/%y", "%d-%m-%Y": "%m-%d-%Y"}
_ZONE = re.compile(r"(?<=[\dM])\s*(Z|[+-]\d\d(?::?\d\d)?|\(?[A-Z]{2,5}\)?|[A-Z][A-Za-z]+/[A-Z][A-Za-z_]+)(?:\s*\([^)]*\))?$")
_LOOKS = re.compile(r"\d.*\d", re.DOTALL)
_HALVES = re.compile(r"(上午|下午|凌晨|中午|晚上)\s*(\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?)")
_DOTTED = re.compile(r"\b([AaPp])\.\s?[Mm]\.?")
_GLUED = re.compile(r"(?<=\d)([AaPp][Mm])\b")
_FRACTION = re.compile(r"(:\d\d[.,]\d{6})\d+")
_SHORT = re.compile(r"(\d{1,2}[-/](\d{1,2}|[A-Za-z]{3})[-/]|\d\d\.\d\d\.)\d\d(\s|$)")
"""Dates with two figures for the year; of those with points, which versions have too, the long way of writing only."""
_DATED = re.compile(r"\d.*[^\d\s].*\d|\d{8}", re.DOTALL)
_LONGEST = 60
_SPREAD = 25
"""Cells that are asked one by one where no one format fits."""
_ASKED = 500
_ZONES = {
    "UTC": 0, "GMT": 0, "Z": 0, "UT": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "IST": 5.5,
    "HKT": 8, "SGT": 8, "AWST": 8, "JST": 9, "KST": 9, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13,
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip
"""Hours of zones that people name by letters; those of RFC 2822 as it says."""


def date(cell: str, form: str) -> datetime | None:
    """The moment that a cell written in that format says, in the zone that it names, if it names one."""
    text = _plain(cell)
    if not text or len(text) > _LONGEST:
        return None
    if form in {FREE, FREE_DAY_FIRST}:
        return _free(text, form == FREE_DAY_FIRST)
    if form in _NUMERIC:
        return _numeric(text, *_NUMERIC[form])
    if form.startswith(("%Y-%m-%d", "%Y%m%d")) and "%p" not in form:
        found = _iso(text, form)
        if found is not None:
            return found
    return _strict(text, form)


def as_seen(cells: Sequence[str], form: str) -> str:
    """How most of a column's cells are written, of the ways that its format stands for: ISO 8601 has a T or a blank before the
    time, seconds or none, and perhaps a zone."""
    if not form.startswith("%Y-%m-%d") or not has_time(form):
        return form
    ways = Counter[str]()
    for cell in map(_plain, cells[:_SPREAD]):
        zone = _ZONE.search(cell)
        bare = cell[: zone.start()] if zone else cell
        ways.update(f"{own}{'%z' if zone else ''}" for own in _ISO if _strict(bare, own))
    return max(ways, key=lambda own: ways[own], default=form)


def _numeric(text: str, mark: str, order: tuple[int, int, int]) -> datetime | None:
    """A day in three numbers; five times as fast as strptime."""
    parts = text.split(mark)
    if len(parts) != 3 or len(text) > 10:
        return None
    year, month, day = (parts[place] for place in order)
    if len(year) != 4 or not (year + month + day).isdigit():
        return None
    try:
        return datetime(int(year), int(month), int(day))
    except ValueError:
        return None


def _iso(text: str, form: str) -> datetime | None:
    """The same, fast, of what ISO 8601 allows; a day without a time is one in a column of times as well."""
    if ("-" in form) is not ("-" in text[:5]) or ("%H" not in form and len(text) > 10) or "W" in text:
        return None
    if text.isdigit() and not (len(text) == 8 and "1900" <= text[:4] <= "2100"):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _strict(text: str, form: str) -> datetime | None:
    zone = None
    if "%H" in form or "%I" in form:
        named = _ZONE.search(text)
        if named and named[1] not in {"AM", "PM"}:
            text, zone = text[: named.start()].rstrip(), _zone(named[1])
            if zone is None:
                return None
        text = _FRACTION.sub(r"\1", text)
    if "%y" in form and not _SHORT.match(text):
        return None
    if form.startswith("%Y%m%d") and "T" not in form and (len(text) != 8 or not "1900" <= text[:4] <= "2100"):
        return None
    try:
        return datetime.strptime(text, form).replace(tzinfo=zone)
    except ValueError:
        return None


def _plain(cell: str) -> str:
    """One way of writing digits, halves of the day and blanks."""
    text = cell.strip()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = _HALVES.sub(lambda found: f"{found[2]} {'AM' if found[1] in {'上午', '凌晨'} else 'PM'}", text)
        text = re.sub(r"(?<=日)(?=\d)", " ", text)
    if text and text[-1] in ".mM":
        text = _GLUED.sub(r" \1", _DOTTED.sub(lambda found: f"{found[1].upper()}M", text))
        text = text.upper() if text[-2:] in {"am", "pm", "Am", "Pm"} and not re.search(r"[A-Za-z]{3}", text) else text
    return text


@lru_cache(1 << 14)
def _free(text: str, day_first: bool) -> datetime | None:
    """What dateutil makes of a text that names a whole day; it fills gaps from a default, so two defaults must agree."""
    from dateutil import parser  # where a model runs, it is there only if a column is written in several ways

    if sum(char.isdigit() for char in text) < 3 or not re.search(r"\d{4}|[A-Za-z]{3}", text):
        return None
    try:
        one, two = (
            parser.parse(text, default=default, dayfirst=day_first, tzinfos=_of_dateutil)
            for default in (datetime(2001, 1, 1), datetime(2002, 2, 2))
        )
    except (ValueError, OverflowError, TypeError, AttributeError):
        return None
    return one if one == two else None


def _of_dateutil(name: str | None, offset: int | None) -> tzinfo | None:
    found = timezone(timedelta(seconds=offset)) if offset is not None else _zone(name or "")
    if found is None and name:
        raise ValueError(f"{name} is no zone")
    return found


@lru_cache(256)
def _zone(name: str) -> tzinfo | None:
    """A zone by its offset or name; None where no such zone is known."""
    name = name.strip("()")
    if name[:1] in {"+", "-"}:
        digits = name[1:].replace(":", "").ljust(4, "0")
        minutes = int(digits[:2]) * 60 + int(digits[2:])
        return timezone(timedelta(minutes=-minutes if name[0] == "-" else minutes)) if minutes < 1440 else None
    if name in _ZONES:
        return timezone(timedelta(hours=_ZONES[name]))
    if not re.fullmatch(r"[A-Z][A-Za-z]+/[A-Z][A-Za-z_]+|[A-Z]{3,4}", name):
        return None
    from dateutil import tz

    found: tzinfo | None = tz.gettz(name)
    return found


@dataclass(frozen=True)
class DateStudy:
    """What the cells of a column say, taken together."""

    form: str | None
    """None where no way of writing dates fits."""
    share: float
    """Of the cells, how many it fits."""
    others: Counter[str] = field(default_factory=Counter)
    """Cells that are no such dates."""
    decided: str = ""
    """What was decided of cells that may be read in two ways; empty if nothing was."""


def study(cells: Sequence[str], share: float = 0.9) -> DateStudy:
    """The way of writing that most cells follow, at least `share` of them."""
    first = cells[:_ASKED]
    if sum(len(cell) <= _LONGEST and _LOOKS.search(cell) is not None for cell in first) < share * len(first) or not first:
        return DateStudy(None, 0.0)
    ranked = _ranked([form for form in DATE_FORMATS if any(date(cell, form) for cell in first[:3])], cells, share)
    if not ranked and _worth_asking(first):
        ranked = _ranked([FREE, FREE_DAY_FIRST], cells, share)
    if not ranked:
        return DateStudy(None, 0.0)
    form, missed = min(ranked, key=lambda pair: len(pair[1]))
    swapped = next((other for other, wrong in ranked if other == _swapped(form) and len(wrong) == len(missed)), None)
    decided = _in_two_ways(cells, form, swapped) if swapped else ""
    return DateStudy(form, 1 - len(missed) / len(cells), Counter(missed), decided)


def in_several_formats(cells: Sequence[str]) -> tuple[int, int] | None:
    """The places of two cells that are dates in different formats, where most of some cells spread over those given are dates
    each by itself, but no one format fits them; None where they are otherwise."""
    step = max(len(cells) // _SPREAD, 1)
    places = range(0, len(cells), step)[:_SPREAD]
    found: list[tuple[int, list[str]]] = []
    for tried, place in enumerate(places):
        cell = cells[place]
        if tried - len(found) > len(places) / 2:
            return None
        shaped = len(cell) <= _LONGEST and _DATED.search(cell)
        forms = [form for form in DATE_FORMATS if has_date(form) and date(cell, form)] if shaped else []
        found += [(place, forms)] if forms else []
    if 2 * len(found) <= len(places):
        return None
    first, known = found[0]
    other = next((place for place, forms in found if not set(forms) & set(known)), None)
    return None if other is None else (first, other)


def _ranked(candidates: Sequence[str], cells: Sequence[str], share: float) -> list[tuple[str, list[str]]]:
    """The formats that enough cells are written in, each with the other cells; once one fits all, only its mirror is tried."""
    found: list[tuple[str, list[str]]] = []
    for form in candidates:
        whole = next((one for one, missed in found if not missed), None)
        if whole is not None and form != _swapped(whole):
            continue
        missed = _misses(form, cells, share)
        if missed is not None:
            found.append((form, missed))
    return found


def _in_two_ways(cells: Sequence[str], form: str, swapped: str) -> str:
    """What was decided of a column that may as well be written with day and month exchanged."""
    for cell in cells:
        moment, other = date(cell, form), date(cell, swapped)
        if moment and other and moment != other:
            order = "month first" if form == FREE or form.startswith("%m") else "day first"
            return (
                f"{cell} may be read in two ways, and no cell tells which: read as {moment:%Y-%m-%d}, the {order} "
                f'(--set "modality.date.format={swapped}" for the other)'
            )
    return ""


def _swapped(form: str) -> str | None:
    """The same with day and month exchanged."""
    if form in {FREE, FREE_DAY_FIRST}:
        return FREE_DAY_FIRST if form == FREE else FREE
    day, blank, time = form.partition(" ")
    pairs = {**_SWAPPED, **{two: one for one, two in _SWAPPED.items()}}
    return f"{pairs[day]}{blank}{time}" if day in pairs else None


def _worth_asking(cells: Sequence[str]) -> bool:
    """Whether dateutil, which is slow, should be asked: most of some cells hold figures and marks or a name between them."""
    shaped = [cell for cell in cells[:20] if re.search(r"\d{1,4}\s?[-/.,\s]|[A-Za-z]{3}", cell) and len(cell) >= 6]
    return (
        len(shaped) >= 0.9 * len(cells[:20])
        and sum(_free(_plain(cell), False) is not None for cell in cells[:5]) > len(cells[:5]) / 2
    )


def _misses(form: str, cells: Sequence[str], share: float) -> list[str] | None:
    """The cells that are not written so; None if they are too many."""
    allowed, missed = len(cells) - share * len(cells) + 1e-9, list[str]()
    for cell in cells:
        if date(cell, form) is None:
            missed.append(cell)
            if len(missed) > allowed:
                return None
    return missed


def date_format(cells: Sequence[str], share: float = 1.0) -> str | None:
    """The way of writing that at least `share` of the cells follow; None if there is none."""
    return study(cells, share).form


def days(moment: datetime) -> float:
    """Days since 1970, UTC."""
    away = moment.utcoffset() or timedelta()
    return (moment.replace(tzinfo=None) - away - datetime(1970, 1, 1)).total_seconds() / 86_400.0


def has_date(form: str) -> bool:
    """Whether such cells say a day."""
    return form in {FREE, FREE_DAY_FIRST} or "%Y" in form or "%y" in form


def has_time(form: str) -> bool:
    """Whether such cells say a time of day."""
    return form in {FREE, FREE_DAY_FIRST} or "%H" in form or "%I" in form
