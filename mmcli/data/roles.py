"""Which columns have a role beside input and target: split, group, id, row index. By their names, checked against their cells.

None of them is a target or an input unless it is asked for; what each was taken for is said.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from mmcli.errors import DataError
from mmcli.options.columns import Roles
from mmcli.reporting.counts import agreed, counted
from mmcli.tables.reading import Table
from mmcli.tables.splitting import WORDS, is_blank, names_splits, says_train, strange

_PREDICTED = re.compile("_predicted(?=_|$)")
_INDEX = re.compile(r"unnamed: \d+(\.\d+)*|__index_level_\d+__", re.IGNORECASE)
"""What pandas calls an index that has no name."""
_CALLED = """
index idx level_0 row rownum row_num row_number row_nr row_index rowid row_names rownames row.names row_name rowname row_no no
no. nr nr. # s.no s.no. sno serial serial_no 序号 编号 行号
"""
_ROW_NAMES = frozenset(_CALLED.split())
"""What people call a count of rows; only where no cell stands twice."""
_IDS = frozenset({"id", "row_id", "uid", "_id"})
_ID_AT_THE_END = re.compile(r".*(?:[_\s.-](?:id|uid|uuid|guid)|[a-z](?:Id|ID)|[A-Z]ID)")
_GROUPS = frozenset({"group", "groups", "group_id", "groupid", "group_key", "group_name"})
_NUMBERED_SPLIT = re.compile(r"(.*[_\s.-])?(split|partition|subset|tvt|traintest|trainvaltest)s?([_\s.-].*)?", re.IGNORECASE)
"""What else people call a column of splits; only where it holds 0, 1 and 2 alone."""
_SPLIT_FLAG = re.compile(r"(is|in|used?)[_\s.-]?(for[_\s.-]?)?(train(ing)?|val|valid|validation|dev|test(ing)?|holdout)")
"""What people call a column that says yes or no to one of them."""
_YES_AND_NO = frozenset({"0", "1", "0.0", "1.0", "true", "false", "yes", "no", "t", "f", "y", "n"})
_FOLDS = frozenset({"fold", "folds", "fold_id", "foldid", "fold_no", "fold_nr", "kfold", "cv_fold", "cvfold"})
_MOST_FOLDS = 20
_LEAST_GROUPS = 20
"""Fewer are more likely a category than rows that belong together, and too few to draw splits from."""
_LEAST_ROWS = 20
"""Fewer say nothing of whether a column names rows, unless it is called so outright."""


@dataclass
class Found:
    """What was decided."""

    split: str | None
    group: str | None
    id: str | None
    left_out: list[str] = field(default_factory=list)
    """Columns with a role that nothing needs: a second id, a row index."""
    weight: str | None = None
    """Only where it is told: many a table has weights of other things."""
    said: list[str] = field(default_factory=list)

    @property
    def taken(self) -> set[str]:
        """All columns with a role."""
        return {name for name in (self.split, self.group, self.id, self.weight, *self.left_out) if name}


def find(table: Table, sample: pd.DataFrame, roles: Roles) -> Found:
    """The roles that the user tells, and those that the columns' names and cells tell.

    Raises:
        DataError: a column called split does not name splits.
    """
    told = {*roles.target, *roles.inputs, *roles.ignore, roles.split, roles.group, roles.id, roles.weight}
    free = [name for name in table.columns if name not in told]
    found = Found(roles.split, roles.group, roles.id, weight=roles.weight)
    if found.split is None:
        found.split = _split(sample, free, found.said)
    free = [name for name in free if name != found.split]
    _flags_and_folds(sample, free, found)
    _predictions(table.columns, free, found)
    free = [name for name in free if name not in found.left_out]
    _ids(sample, free, found, set(table.row_index))
    if found.group is None:
        _group(sample, [name for name in free if name not in found.taken], found)
    return found


def _split(sample: pd.DataFrame, names: Sequence[str], said: list[str]) -> str | None:
    """The column called split, in any case; else one whose cells are nothing but names of splits."""
    called = next((name for name in names if name.strip().lower() == "split"), None)
    if called is not None and not names_splits(list(sample[called])):
        raise _no_splits(called, list(sample[called]))
    name = called or next((name for name in names if says_train(list(sample[name]))), None)
    numbers = (name for name in names if _NUMBERED_SPLIT.fullmatch(name.strip()) and _has_three(sample[name]))
    name = name or next(numbers, None)
    if name is None:
        return None
    numbered = ", 0 train, 1 val, 2 test" if _are_numbers(sample[name]) else ""
    how = f"{'' if called else ', by its cells'}{numbered}"
    said.append(f"split: the column {name!r}{how} (--split to choose another, --ignore {shlex.quote(name)} to draw splits)")
    return str(name)


def _no_splits(name: str, cells: Sequence[str | None]) -> DataError:
    """What to say of a column called split: only the cells that name none, the blank ones by themselves."""
    wrong, flag = strange(cells), shlex.quote(name)
    blank = [place for place in wrong if is_blank(cells[place])]
    others = [place for place in wrong if not is_blank(cells[place])]
    found, remedy = list[str](), list[str]()
    if others:
        some = list(dict.fromkeys(repr(str(cells[place]).strip()[:30]) for place in others))
        more = f" and {len(some) - 3:,} more" if len(some) > 3 else ""
        found.append(f"it holds {', '.join(some[:3])}{more}, {_how_many(others, cells)}")
        remedy.append(f"Expected {WORDS}.")
    if blank:
        found.append(f"it is blank {_how_many(blank, cells)}")
        remedy.append("Fill the blank cells.")
    held = {str(cell or "").strip().removesuffix(".0") for cell in cells} - {""}
    if others and len(held) <= _MOST_FOLDS and all(word.isdecimal() for word in held):
        remedy.append(
            f"If they number folds: --ignore {flag} leaves them out, as in a column called fold; --group {flag} keeps each "
            "fold whole where splits are drawn, and in the --folds of mmcli run."
        )
    remedy.append(f"If it is something else: --input {flag} to learn from it, --target or --ignore {flag}.")
    return DataError(f"column {name!r} does not name splits: {'; '.join(found)}", " ".join(remedy))


def _how_many(places: Sequence[int], cells: Sequence[str | None]) -> str:
    return f"in {len(places):,} of its first {len(cells):,} cells, the first in row {places[0] + 1}"


def splits_with_blanks(table: Table, sample: pd.DataFrame, found: Found, roles: Roles, uses: Mapping[str, str]) -> list[str]:
    """Of columns that would be the split if every cell were filled; `uses` is what each column was taken for instead."""
    told = {*roles.target, *roles.inputs, *roles.ignore}
    said = list[str]()
    for name in table.columns if found.split is None else []:
        cells = list(sample[name])
        if len(set(cells)) > _MOST_FOLDS:
            continue
        blank = [place for place, cell in enumerate(cells) if is_blank(cell)]
        there = pd.Series([cell for cell in cells if not is_blank(cell)], dtype=object)
        looks = says_train(list(there)) or (_NUMBERED_SPLIT.fullmatch(name.strip()) and _has_three(there))
        if name in uses and name not in told and blank and looks:
            said.append(
                f"column {name!r} looks like a split, but is blank {_how_many(blank, cells)}: taken for {uses[name]}. Fill "
                f"them to split by it, or --ignore {shlex.quote(name)} to leave it out"
            )
    return said


def _are_numbers(cells: pd.Series) -> bool:
    return {str(cell or "").strip() for cell in cells} <= {"0", "1", "2", "0.0", "1.0", "2.0"}


def _has_three(cells: pd.Series) -> bool:
    """Whether cells are 0, 1 and 2, all of them there and 0 the commonest, as train is."""
    counts = Counter(str(cell or "").strip().removesuffix(".0") for cell in cells)
    return set(counts) == {"0", "1", "2"} and counts["0"] == max(counts.values())


def _flags_and_folds(sample: pd.DataFrame, names: Sequence[str], found: Found) -> None:
    """Leaves out columns that say how rows were divided, in ways that are no splits: `is_test` and `fold`."""
    for name in names:
        called, cells = name.strip().lower(), {str(cell or "").strip().lower() for cell in sample[name]}
        if _SPLIT_FLAG.fullmatch(called) and len(cells) == 2 and cells <= _YES_AND_NO:
            what = "says how rows are divided: for train, val and test of your own, write these words into a column split"
        elif called in _FOLDS and 2 <= len(cells) <= _MOST_FOLDS:
            what = "is a fold of cross-validation"
        else:
            continue
        found.left_out.append(name)
        found.said.append(f"column {name!r} {what}; neither input nor target (--input {shlex.quote(name)} to use it)")


def _predictions(columns: Sequence[str], names: Sequence[str], found: Found) -> None:
    """Leaves out what `predict` wrote beside another column: it would give the target away, and be replaced by predictions."""
    known = set(columns)
    for name in names:
        of = next((own for found in _PREDICTED.finditer(name) if (own := name[: found.start()]) in known), None)
        if of is None:
            continue
        found.left_out.append(name)
        flag = f"--input {shlex.quote(name)} to use it"
        found.said.append(f"column {name!r} is called as predictions of {of!r} are: neither input nor target ({flag})")


def _ids(sample: pd.DataFrame, names: Sequence[str], found: Found, index: set[str]) -> None:
    """Ids and row indices: the first that is unique names the rows, unless the user has told another."""
    unique = {name for name in names if sample[name].is_unique and sample[name].notna().all()}
    lower = {name: name.strip().lower() for name in names}
    ids = [name for name in names if name in unique and lower[name] in _IDS]
    named = [
        name for name in names if _ID_AT_THE_END.fullmatch(name.strip()) and name not in ids and lower[name] not in _GROUPS
    ]
    ids += [name for name in named if name in unique and len(sample) >= _LEAST_ROWS]
    rows = [name for name in names if _INDEX.fullmatch(name.strip()) or name in index]
    rows += [name for name in names if name in unique and lower[name].replace(" ", "_") in _ROW_NAMES and name not in rows]
    for name in [*ids, *rows]:
        what = "a row index" if name in rows else "an id"
        if found.id is None and name in unique:
            found.id = name
            found.said.append(f"id: {name!r}, not an input (--id to choose another, --input {shlex.quote(name)} to use it)")
        else:
            found.left_out.append(name)
            found.said.append(f"column {name!r} is {what}: neither input nor target (--input {shlex.quote(name)} to use it)")
    for name in names:
        if name not in found.taken and (lower[name] in _IDS or name in named) and len(sample) >= _LEAST_ROWS:
            flag = f"--group {shlex.quote(name)} to keep its rows in one split"
            if found.split:
                flag = (
                    f"--group {shlex.quote(name)} --ignore {shlex.quote(found.split)} without --split to draw splits that keep "
                    f"its rows together, which the column {found.split!r} may divide"
                )
            found.said.append(f"column {name!r} is called an id, but repeats: an input ({flag})")


def _group(sample: pd.DataFrame, names: Sequence[str], found: Found) -> None:
    name = next((name for name in names if name.strip().lower() in _GROUPS), None)
    if name is None:
        return
    cells = sample[name].dropna()
    groups = cells.nunique()
    flag = shlex.quote(name)
    other = f"--input {flag} to learn from it, --target {flag} to predict it"
    if found.split is None and _LEAST_GROUPS <= groups < len(cells):
        found.group = name
        found.said.append(
            f"group: {name!r}; rows that share its value stay in one split ({other}, --ignore {flag} for neither)"
        )
        return
    found.left_out.append(name)
    few = f"{counted(groups, 'value')} in {counted(len(cells), 'row')} {agreed(groups, 'are')} nothing to split by"
    why = "the splits are given" if found.split else few
    found.said.append(f"column {name!r} is called a group, but {why}: left out ({other}, --group {flag} to use it as one)")
