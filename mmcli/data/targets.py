"""Which task a table's targets are, and their cells."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from mmcli import registry
from mmcli.config import validate
from mmcli.config.settings import Settings
from mmcli.data.inputs import TABULAR
from mmcli.errors import ConfigError, DataError
from mmcli.options.target import TASK_FLAGS
from mmcli.reporting.counts import agreed, counted
from mmcli.tables import dates, missing
from mmcli.tables.names import tidy
from mmcli.tables.numbers import is_infinite, padded, study
from mmcli.tasks import Cells, Task


def without_missing_words(cells: Cells, targets: Sequence[str]) -> tuple[list[tuple[str | None, ...]], list[str]]:
    """The cells, words such as NA taken for missing in targets that are otherwise numbers or dates; and what is to be said."""
    if not targets:
        return list(cells), []
    notes, columns = list[str](), list[list[str | None]]()
    for name, column in zip(targets, zip(*cells, strict=True), strict=True):
        words = Counter(cell.strip() for cell in column if cell is not None and missing.is_word(cell))
        others = [cell for cell in column if cell is not None and not missing.is_word(cell)]
        if words and others and (study(others).share >= 0.9 or dates.study(others[:500]).form):
            notes += [
                f"target {name!r}: {counted(count, 'cell')} {missing.remark(word)} (--keep-na to keep such words)"
                for word, count in words.most_common()
            ]
            columns.append([None if cell is None or missing.is_word(cell) else cell for cell in column])
        else:
            columns.append(list(column))
    return list(zip(*columns, strict=True)), notes


def without_labels(labelled: Cells, targets: Sequence[str]) -> list[str]:
    """Of rows that are learnt from though a target is empty: they have none of the labels. A note, or none."""
    empty = sum(None in row for row in labelled)
    if not empty:
        return []
    have = f"{counted(empty, 'row')} {agreed(empty, 'have')}"
    return [f"{have} an empty {targets[0]!r}: taken as having none of the labels"]


def doubts(kind: type[Task], labelled: Cells, targets: Sequence[str]) -> list[str]:
    """Of classes that are dates, or mostly numbers: cells that are none may be mistakes. Of numbers: some may mean missing, or
    all may be codes."""
    if not kind.has_classes and kind.needs_target:
        coded = [missing.coded(study(map(str, column)).values) for column in zip(*labelled, strict=True)]
        amounts = kind.amounts(registry.config_of(kind)(), labelled)
        if codes := "" if amounts is None else padded([str(cell) for (cell,) in labelled]):
            coded[0] = "; ".join(filter(None, [coded[0], f"{codes} (--task classification, or text, for codes)"]))
        return [f"target {name!r}: {said}" for name, said in zip(targets, coded, strict=False) if said]
    if not kind.has_classes or len(targets) != 1:
        return []
    classes = [str(cell) for (cell,) in labelled]
    if not kind.ordered and (when := _dates(classes)):
        return [f"target {targets[0]!r} holds {when}"]
    if odd := _not_finite(classes):
        return [f"target {targets[0]!r}: {odd}"]
    found = study(classes)
    if not 0.5 <= found.share < 1 or len(set(found.values)) < 20:
        return []
    some = ", ".join(repr(cell[:30]) for cell in list(found.others)[:3])
    no_numbers = "is no number" if found.others.total() == 1 else "are no numbers"
    return [
        f"target {targets[0]!r}: {found.others.total()} of {len(labelled)} cells {no_numbers}, e.g. {some}: it is taken for "
        "classes (--na TEXT for words that mean missing; --task regression predicts numbers)"
    ]


_OVERFLOWS = re.compile(r"[-+]?\d+(\.\d*)?[eE]\+?\d{3,}").fullmatch
"""Numbers that are larger than any that is computed with."""


def _not_finite(classes: Sequence[str]) -> str:
    """What to say of classes that would all be numbers but for some that no number is as large as; empty if they are not so."""
    odd = Counter(cell.strip() for cell in classes if is_infinite(cell) or _OVERFLOWS(cell.strip()))
    if not odd or study([cell for cell in classes if cell.strip() not in odd]).share < 0.9:
        return ""
    some = ", ".join(repr(cell[:30]) for cell in list(odd)[:3])
    left_out = " ".join(f"--na={shlex.quote(cell)}" for cell in odd)
    return (
        f"{odd.total()} of {len(classes)} cells {agreed(odd.total(), 'are')} not finite, e.g. {some}, the others numbers: it "
        f"is taken for classes. To predict numbers: --task regression {left_out}, or mend them"
    )


def _dates(cells: Sequence[str]) -> str:
    """What to say of classes that are dates or times; empty if they are not, as numbers never are."""
    form = dates.study(cells[:500]).form if study(cells[:500]).share < 0.9 else None
    if not form:
        return ""
    example = next(cell for cell in cells if dates.date(cell, form))
    what, number = ("dates", "days since the first") if dates.has_date(form) else ("times", "minutes since midnight")
    return (
        f"{what}, e.g. {example[:30]!r}, which are not predicted as such: each is a class of its own. To predict when, write "
        f"numbers, e.g. {number}; for classes, name those meant, e.g. {'the month' if what == 'dates' else 'the hour'}"
    )


def check(kind: type[Task], config: Any, targets: Sequence[str], rows: Iterable[tuple[int, tuple[str | None, ...]]]) -> None:
    """Looks at each labelled row's cells by themselves; then whether they differ at all.

    Raises:
        DataError: naming the first row whose cells can be no targets, and how many there are where they are many; or a
            target that is the same in every row, where nothing can be learnt of it.
    """
    wrong: list[tuple[int, str, str]] = []
    values: list[set[str]] = [set() for _ in targets]
    seen, classes = 0, dict[str, None]()
    for row, cells in rows:
        seen += 1
        classes |= {tidy(str(cells[0])): None} if kind.ordered else {}
        for own, cell in zip(values, cells, strict=False):
            if len(own) < 2:
                own.add(tidy(str(cell)))
        try:
            kind.check(config, targets, cells)
        except DataError as error:
            wrong.append((row, error.message, error.remedy))
    if wrong:
        row, message, remedy = wrong[0]
        if len(wrong) > seen / 2 and not kind.has_classes:
            raise DataError(
                f"the target {targets[0]!r} holds classes, not numbers: {len(wrong)} of {seen} cells are none; row {row}: "
                f"{message}",
                "Predict classes: --task classification, or leave --task out.",
            )
        more = f" ({len(wrong)} rows are so)" if len(wrong) > 1 else ""
        raise DataError(
            f"row {row}: {message}{more}", _own_order(list(classes)) if kind.ordered and not config.order else remedy
        )
    for name, own in zip(targets, values, strict=True):
        if len(own) == 1 and kind.must_vary:
            raise _never_varies(name, own.pop(), seen)


def _own_order(classes: Sequence[str]) -> str:
    """What to do of classes whose order is not told: a flag with all of them, which a user puts in order."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(classes)
    return f"Say it from the lowest to the highest, its own classes put in that order: --order {shlex.quote(text.getvalue())}."


def _never_varies(target: str, value: str, rows: int) -> DataError:
    if rows == 1:
        return DataError(
            f"only one row has a target {target!r}: there is nothing to tell it from", "Give more rows, or another --target."
        )
    return DataError(
        f"the target {target!r} is {value[:60]!r} in all {rows:,} rows that have one: there is nothing to tell apart",
        "Give rows with another value, or choose another --target.",
    )


def choose(
    cells: Cells,
    targets: Sequence[str],
    told: str | None,
    settings: Settings,
    options: Mapping[str, Mapping[str, Any]],
    decimal: str = "",
) -> tuple[type[Task], Any, str]:
    """The task told, or the one that is surest of the targets; its options; and why it was chosen, where it was not told.

    `settings` are those of preprocess; `options`, by task, come from flags and win. `decimal` is the mark that
    other columns prove.

    Raises:
        DataError: there is no target anywhere.
        ConfigError: a flag is for another task.
    """
    full = [row for row in cells if None not in row]
    if not full:
        names = " or ".join(map(repr, targets))
        raise DataError(f"the target {names} is empty in every row", "Choose another with --target.")
    kinds: dict[str, tuple[type[Task], Any]] = {}
    for name in [told] if told else registry.parts("tasks"):
        config = settings.part("tasks", name)
        config = validate(type(config), {**config.model_dump(), **options.get(name, {})}, f"task.{name}")
        if decimal == "," and getattr(config, "decimal", "") == "auto" and _ambiguous(full):
            config = config.model_copy(update={"decimal": "comma"})
        kinds[name] = (registry.load("tasks", name), config)
    likeness = {name: kind.sniff(config, full) for name, (kind, config) in kinds.items()}
    best = max(likeness, key=lambda name: likeness[name].confidence)
    for name in sorted(set(options) - {best}):
        foreign = [option for option in options[name] if option not in options.get(best, {})]  # some are of several tasks
        if not foreign:
            continue
        flags = ", ".join(TASK_FLAGS.get(option, option) for option in foreign)
        raise ConfigError(f"{flags}: for the task {name}, and the task is {best}", f"Add --task {name}, or leave it out.")
    others = " or ".join(name for name in registry.parts("tasks") if name != best)
    why = "" if told else f"task: {best}, since the target has {likeness[best].reason} (--task {others} to change)"
    return (*kinds[best], why)


def check_shared(kind: type[Task], shares: Mapping[str, str], inputs: Mapping[str, str]) -> None:
    """Raises ConfigError where the task compares columns that share an encoder, and none do; `inputs` are with their
    modalities, and those of one kind are named."""
    if kind.compares_columns and not shares:
        alike = [pair for pair in combinations(inputs, 2) if inputs[pair[0]] == inputs[pair[1]]]
        first, second = next((pair for pair in alike if inputs[pair[0]] != TABULAR), alike[0] if alike else ("", ""))
        which = f"E.g. --share {shlex.quote(f'{second}={first}')}." if alike else "Say which: --share B=A."
        raise ConfigError(
            f"--task {registry.name_of(kind)} compares columns that share an encoder, and none do",
            f"{which} They must be of one kind.",
        )


def suggested(
    kind: type[Task], labelled: Cells, shares: Mapping[str, str], targets: Sequence[str], inputs: Mapping[str, str]
) -> list[str]:
    """That the target may ask whether columns that share an encoder belong together, where it says yes and no, or two that are
    all there is of the inputs and hold files of one kind; that its classes may stand in an order, where they look like grades.
    `inputs` are with their modalities."""
    owner = next(iter(shares.values()), "")
    readers = [owner, *(reader for reader, own in shares.items() if own == owner)]
    found = []
    for name in registry.parts("tasks") if not kind.compares_columns and not kind.ordered and kind.has_classes else []:
        other: type[Task] = registry.load("tasks", name)
        likeness = other.sniff(registry.config_of(other)(), labelled)
        if other.ordered and likeness.confidence > 0:
            found.append(f"{targets[0]!r} holds {likeness.reason}: --task {name} learns their order")
        if shares and other.compares_columns and likeness.confidence > 0:
            found.append(
                f"{targets[0]!r} says yes and no, and {' and '.join(map(repr, readers))} share an encoder: --task {name} asks "
                "whether they belong together"
            )
        kinds = list(inputs.values())
        of_files = len(kinds) == 2 and kinds[0] == kinds[1] != TABULAR and registry.load("modalities", kinds[0]).reads_files
        if of_files and not shares and other.compares_columns and likeness.confidence > 0:
            first, second = inputs
            share = shlex.quote(f"{second}={first}")
            found.append(
                f"{targets[0]!r} says yes and no of {first!r} and {second!r}: --task {name} --share {share} asks whether they "
                "belong together"
            )
    return found


def _ambiguous(cells: Cells) -> bool:
    """Whether no cell proves which mark stands before decimals."""
    return not any(study(str(cell) for cell in column).proven for column in zip(*cells, strict=True))
