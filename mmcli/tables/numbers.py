"""Numbers as people and programs write them, decided for a column as a whole.

Owns which mark stands before the decimals and which units may follow, from the evidence of all cells: `1,234` alone may be two
numbers, beside `0,5` only one. Knows nothing of words that mean missing (see `missing`), nor of what a column is for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from mmcli.reporting.counts import agreed, counted
from mmcli.tables.written import AMOUNTS, LETTERS, UNITS, Written, written

EXACT = 2.0**53
"""Beyond it a float64 cannot hold every whole number; such cells are given as int."""
LEAST_PADDED = 4
"""Of so many digits a zero in front is no habit of writing numbers."""
_INFINITE = frozenset({"inf", "infinity"})
_GROUPS = r"[1-9]\d{{0,2}}(?:([{marks}])\d{{3}})(?:\1\d{{3}})*"
_POINT = re.compile(rf"(?:\d+|{_GROUPS.format(marks=chr(44) + ' ' + chr(39))}|[1-9]\d?(?:,\d\d)*,\d{{3}})?(?:\.\d*)?")
_MARK_OF_GROUPS = {".": re.compile("[, ']").search, ",": re.compile("[. ']").search}
_PLAIN_GROUPS = re.compile(r"\s*[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?\s*")
"""As most programs part thousands: read at half the cost of the whole grammar."""
_COMMA = re.compile(rf"(?:\d+|{_GROUPS.format(marks='. ' + chr(39))})?(?:,\d*)?")


def _said_with(decimal: str, core: str) -> str:
    """The digits that a core says where that mark stands before decimals, as `float` wants them; empty if it says none."""
    if not _MARK_OF_GROUPS[decimal](core):  # most cells, at a fraction of the cost
        return core.replace(decimal, ".") if core.count(decimal) < 2 and core != decimal else ""
    if decimal == ".":
        if not _POINT.fullmatch(core):
            return ""
        return core.replace(",", "").replace(" ", "").replace("'", "")
    if not _COMMA.fullmatch(core):
        return ""
    return core.replace(".", "").replace(" ", "").replace("'", "").replace(",", ".")


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written."""

    decimal: str = "."
    """What stands before the decimals, `.` or `,`; a cell that can only be meant the other way is read so."""
    units: tuple[str, ...] = ()
    """What may follow (or, of currencies, precede) a number, commonest first."""
    letters: bool = False
    """Whether K, M and B mean thousands, millions and milliards."""
    shares: bool = False
    """Whether all cells are percent, read as shares: a number without the sign is then one only where it is a share itself."""

    def value(self, cell: str) -> float | int | None:
        """The finite number that a cell says; None if it says none, or names a unit that is not the column's."""
        if self.decimal == "." or "." not in cell:
            try:
                found = float(cell)
            except ValueError:
                return self._marked(cell)
            if -EXACT < found < EXACT and "_" not in cell:
                return None if self.shares and abs(found) > 1 else found
        return self.of(written(cell))

    def _marked(self, cell: str) -> float | int | None:
        """What `float` does not read: plain groups and amounts of a currency at once, all else by the whole grammar."""
        if self.decimal == "." and len(cell) < 20 and not self.shares:
            if _PLAIN_GROUPS.fullmatch(cell):
                return float(cell.replace(",", ""))
            if self.units and AMOUNTS.get(cell[:1]) in self.units and cell[1:].replace(".", "", 1).isdecimal():
                return float(cell[1:])
        return self.of(written(cell))

    def of(self, cell: float | Written | None) -> float | int | None:
        """The number that parts say in this format."""
        found = self._of(cell) if isinstance(cell, Written) else cell
        bare = self.shares and not (isinstance(cell, Written) and cell.percent)
        return None if bare and found is not None and abs(found) > 1 else found

    def _of(self, cell: Written) -> float | int | None:
        more = 0
        unit = cell.unit
        if unit and unit not in self.units:
            if not (self.letters and cell.unit in LETTERS):
                return None
            more = LETTERS[unit]
        other = "," if self.decimal == "." else "."
        if len(cell.parts) == 1 and cell.parts[0][1] == more == 0:  # most cells
            digits = _said_with(self.decimal, cell.parts[0][0])
            if 0 < len(digits) < 16 and digits != ".":
                return cell.sign * float(digits)
        total: float | int = 0
        for core, power in cell.parts:
            digits = _said_with(self.decimal, core) or _said_with(other, core)
            if not digits.strip("."):
                return None
            power += more
            total += int(digits) * 10**power if digits.isdigit() and 0 <= power < 20 else float(f"{digits}e{power}")
        if isinstance(total, int) and total >= EXACT:
            return cell.sign * total
        return cell.sign * float(total) if total < float("inf") else None

    @property
    def units_said(self) -> str:
        """Which units are understood, for a message; empty where there is none."""
        units = ["%"] if self.shares else self.units[:5]
        return f" (in {' or '.join(units)})" if units else ""

    def why_not(self, cell: str) -> str:
        """Why a cell that says no `value` does not."""
        return "not finite" if is_infinite(cell) else f"not a number{self.units_said}"

    def remark(self, cell: str) -> str:
        """What is to be said of a cell that says a number; mostly nothing."""
        bare = self.shares and not any(sign in cell for sign in "%％﹪")
        return "without %, read as shares (0.5 is 50%)" if bare else ""

    def state(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "units": list(self.units)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(state["decimal"], tuple(state["units"]), state["letters"], state.get("shares", False))


@dataclass
class Study:
    """What the cells of a column say, taken together."""

    format: NumberFormat
    values: list[float | int] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    """Cells that are no numbers."""
    decided: str = ""
    """What was decided of cells that may be read in two ways, or are not written as programs write; empty if nothing was."""
    doubts: str = ""
    """Where the cells do not agree."""
    proven: str = ""
    """The decimal mark that cells prove, which those of other columns may go by."""

    @property
    def share(self) -> float:
        """Of the cells, how many are numbers."""
        total = len(self.values) + self.others.total()
        return len(self.values) / total if total else 0.0


def study(cells: Iterable[str], decimal: str = "", hint: str = "") -> Study:
    """The format of a column and what its cells say in it.

    `decimal` is the mark that the user told; `hint` the one that other columns prove, for cells that may be read in two ways.
    """
    cells = list(cells)
    parsed = [_parsed(cell) for cell in cells]
    plain = [cell for cell, said in zip(cells, parsed, strict=True) if isinstance(said, float)]
    marked = [said for said in parsed if isinstance(said, Written)]
    evidence = _evidence([core for said in marked for core, _ in said.parts], plain)
    mark = decimal or evidence.decided(hint)
    units, letters, unit_doubts = _units(marked, bare=len(plain))
    form = NumberFormat(mark, units, letters, bool(marked) and not plain and all(said.percent for said in marked))
    found = Study(form, proven=evidence.proven)
    for cell, said in zip(cells, parsed, strict=True):
        value = form.value(cell) if isinstance(said, float) and mark == "," else form.of(said)
        if value is None:
            found.others[cell] += 1
        else:
            found.values.append(value)
    found.decided = "; ".join(filter(None, [evidence.said(mark, decimal), _said_of(form, marked)]))
    found.doubts = "; ".join(filter(None, [evidence.doubts(mark), unit_doubts]))
    return found


def _parsed(cell: str) -> float | Written | None:
    """What `float` reads of a cell, else its parts."""
    try:
        found = float(cell)
    except ValueError:
        return float(cell.replace(",", "")) if len(cell) < 20 and _PLAIN_GROUPS.fullmatch(cell) else written(cell)
    return found if -EXACT < found < EXACT and "_" not in cell else written(cell)


@dataclass
class _Evidence:
    """For which mark before decimals the cells of a column speak; an example of each kind."""

    point: list[str]
    comma: list[str]
    either: list[str]
    thousands: str = ""
    """The mark that must part thousands, where only that explains the cells that may be read in two ways."""

    @property
    def proven(self) -> str:
        if self.comma and len(self.comma) > len(self.point):
            return ","
        return "." if self.point else ""

    def decided(self, hint: str) -> str:
        if self.proven:
            return self.proven
        if self.thousands:
            return "." if self.thousands == "," else ","
        return hint or "."

    def said(self, mark: str, told: str) -> str:
        if self.either and not self.proven and not told:
            core = self.either[0]
            value = float(_said_with(mark, core))
            other = float(_said_with("," if mark == "." else ".", core))
            name = "comma" if mark == "." else "point"
            return f"{core} is read as {value:.6g}, not {other:.6g} (--set modality.number.decimal={name} for that)"
        if mark == ",":
            core = next(iter([*self.comma, *self.either]), "")
            return f"a comma stands before the decimals: {core} is {float(_said_with(',', core)):.10g}" if core else ""
        return ""

    def doubts(self, mark: str) -> str:
        few = self.comma if mark == "." else self.point
        many = self.point if mark == "." else self.comma
        if not few or not many:
            return ""
        name = "comma" if mark == "." else "point"
        either = f"; {self.either[0]} is read as {float(_said_with(mark, self.either[0])):.6g}" if self.either else ""
        cells = f"{counted(len(few), 'cell')} {agreed(len(few), 'have')}"
        others = f"{len(many)} {agreed(len(many), 'do')} not"
        return f"{cells} a {name} before the decimals ({few[0]}), {others} ({many[0]}){either}"


def _evidence(cores: list[str], plain: list[str]) -> _Evidence:
    """`cores` are digits with their marks, `plain` cells that are nothing else but for a sign, mostly with a point."""
    found, unclear = _Evidence([], [], []), cores.copy()
    for cell in plain:
        if "," in cell or len(cell) - cell.find(".") == 4:
            unclear.append(cell.strip().lstrip("+-"))
        elif "." in cell:
            found.point.append(cell)
    for core in unclear:
        if "," not in core:
            if "." not in core:
                continue
            if core.count(".") == 1 and len(core) - core.find(".") != 4:
                found.point.append(core)
                continue
        point, comma = _POINT.fullmatch(core), _COMMA.fullmatch(core)
        if point and comma:
            found.either.append(core)
        elif point:
            found.point.append(core)
        elif comma:
            found.comma.append(core)
        elif "e" in core.lower():
            found.point.append(core)
    if found.either and not found.point and not found.comma:
        # %.3f leaves no cell without decimals, and the shortest way of writing none with a zero at the end.
        bare = [cell for cell in [*plain, *cores] if cell.isdigit()]
        zeros = [core for core in found.either if core.endswith("0")]
        if bare and zeros and all(len(cell) <= 3 for cell in bare):
            found.thousands = "," if "," in zeros[0] else "."
    return found


def _units(marked: Sequence[Written], bare: int) -> tuple[tuple[str, ...], bool, str]:
    """The units of a column, whether letters are magnitudes, and where the cells do not agree."""
    counts = Counter(cell.unit for cell in marked if cell.unit)
    bare += sum(not cell.unit for cell in marked)
    attached = Counter(cell.unit for cell in marked if cell.unit in LETTERS and cell.attached)
    letters = bool(attached) and set(counts) == set(attached) and (len(attached) > 1 or bare > 0)
    if letters:
        return (), True, ""
    shares = sum(cell.percent for cell in marked)
    bare -= shares
    if shares and (bare > 0 or counts):
        percent = f"{counted(shares, 'cell')} {agreed(shares, 'are')} percent"
        return _kept(counts), False, f"{percent}, read as shares (12% is 0.12), the others are not"
    kept = _kept(counts)
    doubts = ""
    if len(kept) > 1 or (kept and bare > 0):
        shown = ", ".join([f"{counts[name]} {name!r}" for name in kept[:5]] + ([f"{bare} without"] if bare else []))
        doubts = f"cells have several units ({shown}), of which only the numbers are read: bring them to one"
    return kept, False, doubts


def _kept(counts: Counter[str]) -> tuple[str, ...]:
    """Of what follows the numbers of a column, what are units: all where all are known as such, else what most have."""
    codes = len(counts) > 1 and all(len(name) == 1 for name in counts)  # seats and flats: 12A, 13B
    known = set(counts) <= UNITS and not codes
    ranked = [name for name, _ in counts.most_common()]
    if not counts or not (known or counts[ranked[0]] >= 0.6 * counts.total()):
        return ()
    return tuple(name for name in ranked if known or counts[name] >= 0.02 * counts.total())


def _said_of(form: NumberFormat, marked: Sequence[Written]) -> str:
    if form.letters:
        return "K, M and B after a number mean thousands, millions and milliards"
    said = ["percent are read as shares (12% is 0.12)"] if marked and all(cell.percent for cell in marked) else []
    said += [f"the unit {form.units[0]!r} is left out"] if len(form.units) == 1 else []
    return "; ".join(said)


def number(cell: str) -> float | None:
    """The number that a cell says by itself: `-3`, `1e5`, `1,234.5`, `0,5`, `12%` (0.12), `$ 9`, `(3)`, `3.5万`, `１２`."""
    values = study([cell]).values
    return float(values[0]) if values else None


def is_number(cell: str) -> bool:
    """Whether a cell says a number, in whatever format."""
    try:
        return "_" not in cell and abs(float(cell)) < float("inf")
    except ValueError:
        return number(cell) is not None


def is_infinite(cell: str) -> bool:
    """Whether a cell says that a number is infinite, as programs write it: inf, -Infinity."""
    return len(cell) < 16 and cell.strip().lstrip("+-").casefold() in _INFINITE


def padded(cells: Sequence[str]) -> str:
    """What is to be said of digits that are filled up with zeros to one width, as postcodes and other codes are: whoever reads
    numbers loses them. Empty where cells are otherwise, and for fewer than four digits, as hours and months have."""
    width, first = len(cells[0].strip()) if cells else 0, ""
    for cell in map(str.strip, cells):
        if width < LEAST_PADDED or len(cell) != width or not (cell.isascii() and cell.isdecimal()):
            return ""
        first = first or (cell if cell[0] == "0" else "")
    said = f"cells are of {width} digits, some with zeros in front, e.g. {first!r}, as codes are, and read as numbers"
    return said if first else ""


def span(values: Sequence[float]) -> str:
    """`3 to 35.4`: from the least to the greatest, with as many digits as tell them apart."""
    low, high = min(values), max(values)
    whole = float(low).is_integer() and float(high).is_integer() and max(abs(low), abs(high)) < EXACT
    forms = [f"{low:{form}} to {high:{form}}" for form in ("g", ".0f" if whole else ".10g", ".17g")]
    return next((said for said in forms if len(set(said.split(" to "))) > 1), forms[0])
