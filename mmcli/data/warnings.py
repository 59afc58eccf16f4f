"""What a user may not have meant in a table, in words: the same for `inspect` and `preprocess`, before any work."""

from __future__ import annotations

import shlex
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mmcli.data import leaks
from mmcli.data.schema import Schema
from mmcli.data.survey import Survey
from mmcli.reporting.counts import agreed, counted
from mmcli.tables import missing
from mmcli.tables.names import tidy
from mmcli.tables.splitting import SPLITS, TEST, TRAIN, VAL
from mmcli.tasks import Cells, Task

NO_TEST_ROWS = "Give a --split column that names some, or leave it out to draw some with --test 0.15."


def of_words(survey: Survey) -> list[str]:
    """Which words counted as missing, where, and how often: notes."""
    said = [
        f"column {name!r}: {counted(count, 'cell')} {missing.remark(word)} (--keep-na to keep such words)"
        for (name, word), count in survey.missing_words.most_common()
    ]
    told = [
        f"column {name!r}: {counted(count, 'cell')} {missing.remark(word)} (--na)"
        for (name, word), count in survey.told_missing.most_common()
    ]
    return said + told


def of_targets(kind: type[Task], labelled: Cells, targets: Sequence[str], rows: int) -> list[str]:
    """Of classes that are too many or too rare."""
    if not kind.has_classes:
        return []
    name, found = " or ".join(map(repr, targets)), list[str]()
    classes = Counter(str(cell) for (cell,) in labelled)
    if len(classes) > rows / 2:
        found.append(f"{name} has {len(classes)} classes in {rows} rows: is it the target?")
    elif len(classes) > 200:
        found.append(f"{name} has {len(classes)} classes in {rows} rows, few for each: is it the target?")
    rare = [label for label, count in classes.items() if count < 3]
    if rare:
        one = len(rare) == 1
        found.append(
            f"{len(rare)} {'class has' if one else 'classes have'} fewer than 3 rows, e.g. {rare[0]!r}: too few to train, "
            "validate and test"
        )
    return found + _of_names(name, classes)


FEW = 5
"""Rows of a class from which on its score is not called uncertain."""
_NAMED = 3


def of_few(kind: type[Task], labelled: Cells, splits: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Of classes of which val or test has few rows or none; `splits` are those of the labelled rows. Classes that are few in
    all, of which `of_targets` tells, are not told again."""
    if not kind.has_classes:
        return []
    every = Counter(str(cell) for (cell,) in labelled)
    known = [label for label, count in every.items() if count >= 3]
    found = []
    for split in (VAL, TEST) if len(every) <= min(len(labelled) / 2, 200) else ():
        own = Counter(str(cell) for (cell,), where in zip(labelled, splits, strict=True) if where == split)
        few = sorted((own[label], label) for label in known if own[label] < FEW)
        if own and few:
            some = ", ".join(f"{label!r} {count}" for count, label in few[:_NAMED]) + (", ..." if len(few) > _NAMED else "")
            found.append(f"{split} has fewer than {FEW} rows of {len(few)} of {counted(len(every), 'class')} ({some})")
    name = " or ".join(map(repr, targets))
    return [f"target {name}: {'; '.join(found)}: what is scored of these says little"] if found else []


def _of_names(target: str, classes: Mapping[str, int]) -> list[str]:
    """Of classes that look the same, that mean missing, and that are no names."""
    found, alike = [], dict[str, list[str]]()
    for label in classes:
        alike.setdefault(_look(label), []).append(label)
    same = [labels for labels in alike.values() if len(labels) > 1]
    if same:
        some = " and ".join(f"{label!r} ({counted(classes[label], 'row')})" for label in same[0][:3])
        more = f", and {counted(len(same) - 1, 'more such name')}" if len(same) > 1 else ""
        found.append(f"classes of {target} look the same: {some}{more}. Write them alike if they are one")
    words = [label for label in classes if missing.is_word(label)]
    if words and len(classes) > len(words):
        label = words[0]
        found.append(
            f"{label!r} is a class of {target}, in {counted(classes[label], 'row')}: if it means that the class is not known, "
            f"--na {shlex.quote(label)} leaves such rows out of training"
        )
    nested = next((label for label in classes if label[:1] in "[{" and label[-1:] in "]}" and len(label) > 1), "")
    if nested:
        found.append(
            f"cells of {target} are lists or objects, e.g. {nested[:60]!r}: each is one class as a whole. --task "
            "multilabel takes the names or numbers of a list for labels"
        )
    return found


def _look(label: str) -> str:
    """What is left of a class's name where case, width, blanks and a decimal nought do not count."""
    plain = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
    return plain.removesuffix(".0") if plain.removesuffix(".0").isdecimal() else plain


def of_leaks(schema: Schema, survey: Survey, sample: pd.DataFrame) -> list[str]:
    """Of inputs that alone tell the target."""
    found, telling = [], survey.telling
    for item in schema.columns:
        cells = sample[item.name].tolist()
        for target in schema.targets:
            why = ""
            if leaks.named_after(item.name, target):
                why = f"is named after the target {target!r}"
            elif item.modality == "number" and leaks.same_order(cells, sample[target].tolist()):
                why = f"rises or falls with the target {target!r} without an exception"
            elif target == schema.targets[0] and item.name in telling:
                why = (
                    f"alone tells the target {target!r}: each of its {telling[item.name]} values stands with one of the target"
                )
            if why:
                found.append(
                    f"input {item.name!r} {why}. A model would copy it; is it known before the target is? "
                    f"(--ignore {shlex.quote(item.name)} leaves it out)"
                )
                break
    return found


def of_splits(schema: Schema, counts: Mapping[str, int]) -> list[str]:
    """Of splits without rows."""
    if counts.get(TEST, 0):
        return []
    if schema.split:
        return [f"column {schema.split!r} names no test rows: evaluate will have nothing to show. {NO_TEST_ROWS}"]
    why = f"the groups of {schema.group!r} are too few to fill every split" if schema.group else "--test takes none"
    return [f"no row is test ({why}): evaluate will have nothing to show"]


def of_groups(schema: Schema, groups: Sequence[str | None], splits: Sequence[str]) -> list[str]:
    """Of groups that the column of splits divides, by the cells and the split of each row."""
    where = dict[str, Counter[str]]()
    for group, split in zip(groups, splits, strict=True):
        if split in SPLITS and (name := tidy(group or "")):
            where.setdefault(name, Counter())[split] += 1
    divided = {name: own for name, own in where.items() if len(own) > 1}
    if not divided:
        return []
    name, own = next(((name, own) for name, own in divided.items() if TEST in own), next(iter(divided.items())))
    rows = ", ".join(f"{counted(own[split], f'{split} row')}" for split in SPLITS if own[split])
    tested = any(TEST in own for own in divided.values())
    return [
        f"{len(divided):,} of {counted(len(where), 'group')} of {schema.group!r} {agreed(len(divided), 'stand')} in several "
        f"splits of the column {schema.split!r}, e.g. {name[:60]!r} with {rows}: "
        f"scores on {'test' if tested else 'val'} are better than those of new groups will be "
        f"(--ignore {shlex.quote(schema.split or '')} without --split draws splits anew, by group)"
    ]


def of_columns(schema: Schema, survey: Survey, splits: Sequence[str] | None) -> list[str]:
    """Of inputs that are mostly empty, or empty in a whole split."""
    found = []
    names = np.asarray(splits or [])
    of_split = {split: names == split for split in SPLITS if (names == split).any()}
    for item in schema.columns:
        present = survey.present(item.name)
        empty = [split for split, mask in of_split.items() if not present[mask].any()]
        if TRAIN in empty:
            found.append(f"column {item.name!r} has no value in any train row: preprocess leaves it out")
        elif empty:
            found.append(f"column {item.name!r} has no value in any {' or '.join(empty)} row")
        elif survey.rows and present.mean() < 0.5:
            found.append(f"column {item.name!r} is empty in {1 - present.mean():.0%} of the rows")
    return found


def of_table(
    schema: Schema,
    survey: Survey,
    kind: type[Task],
    labelled: Cells,
    splits: Sequence[str] | None,
    here: Sequence[bool],
    sample: pd.DataFrame,
) -> list[str]:
    """All of them; `splits` of each row, where they are known; `here` says which rows are the `labelled` ones."""
    found = of_targets(kind, labelled, schema.targets, survey.rows)
    held = [split for split, told in zip(splits, here, strict=True) if told] if splits is not None else None
    found += of_few(kind, labelled, held, schema.targets) if held is not None else []
    found += of_leaks(schema, survey, sample)
    if splits is not None:
        found += of_splits(schema, Counter(splits)) + (of_groups(schema, survey.groups, splits) if survey.groups else [])
    return found + of_columns(schema, survey, splits)
