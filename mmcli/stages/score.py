"""evaluate TABLE: how the model as it is does on labelled rows that no stage has seen. Writes nothing."""

from __future__ import annotations

import functools
import hashlib
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mmcli.data import targets
from mmcli.errors import DataError
from mmcli.media import files as media
from mmcli.media import marks
from mmcli.models import predictor
from mmcli.models.predictor import Model
from mmcli.options.evaluate import Options
from mmcli.proof import finding
from mmcli.proof.examples import raw_cells
from mmcli.reporting.counts import agreed, counted, them
from mmcli.reporting.metrics import Interval, shown
from mmcli.stages import Context, Outcome, say_of_table
from mmcli.tables.names import tidy
from mmcli.tables.reading import marked, open_table
from mmcli.tables.source import called
from mmcli.tables.weights import weights
from mmcli.tasks import Cells, Task

Rows = list[tuple[str | None, ...]]


def run(path: Path, options: Options, context: Context) -> Outcome:
    """Scores the best model so far on the labelled rows of the table at `path`, beside the baseline that sees no input.

    Raises:
        ArtifactError: there is no fused model.
        DataError: the table cannot be read, lacks the target or all inputs, or has no row that can be scored. Columns that
            belong together need no target: each row's cells are looked for among those of all rows of the table.
        ConfigError: a column to slice by is not in the table.
    """
    table = open_table(path)
    say_of_table(table, context)
    loaded = predictor.load(context.root, context.device, context.precision, context.threads)
    names = list(loaded.dataset.schema["targets"])
    if not names and not loaded.task.aligns_columns:
        raise DataError("the model was made without a target: there is nothing to score", "Look at the rows: mmcli predict.")
    for name in names:
        if name not in table.columns:
            remedy = f"Without it there is only: mmcli predict {shlex.quote(str(path))}"
            raise DataError(f"{called(path)} has no column {name!r}, which is to be predicted", remedy)
    for name in options.slices:
        table.require(name, "--slice")
    loaded.require_inputs(table.columns, called(path), context.console.warn)
    frames, outputs, rejects = [], [], []
    weight = _role(loaded, "weight", "by which rows counted (--weight): here all count alike", table.columns, path, context)
    alone = "by which rows are of one thing (--group): here each is its own"
    group = None if names else _role(loaded, "group", alone, table.columns, path, context)
    keep = list(dict.fromkeys([*names, *options.slices, *(own for own in (weight, group) if own)]))
    seen = [name for name in loaded.with_faces(loaded.columns) if name in table.columns]
    parts = table.chunks(columns=list(dict.fromkeys([*seen, *keep])))
    for prediction in loaded.predict_chunks(parts, options.media_root or str(path.parent), allow_missing=options.allow_missing):
        frames.append(prediction.rows)
        outputs.append(prediction.outputs)
        rejects += prediction.rejects
    if not frames:
        raise DataError(f"{called(path)} has a header but no rows", "There is nothing to score.")
    if rejects:
        row, column, cell, why = rejects[0]
        context.console.warn(
            f"{counted(len(rejects), 'cell')} cannot be read and {agreed(len(rejects), 'count')} as absent, the first: "
            f"row {row}, column {column!r}, {cell!r}: {why}"
        )
    rows = pd.concat(frames)
    root, whole = options.media_root or str(path.parent), loaded.task.outputs.join(outputs)
    _say_seen(loaded, rows, root, context)
    if not names:
        known = _known(path, loaded, whole, rows, group, root)
        return _told(path, loaded, whole, known, rows, options, context)
    cells, kept = _scorable(loaded, rows, names, context)
    task, index = loaded.task, torch.tensor(kept)
    made = task.outputs.gather(whole, index)
    right = task.encode(cells)
    if weight:
        own = weights([_cell(cell, loaded.na) for cell in rows[weight].iloc[kept]], [row + 1 for row in kept], weight)
        if not sum(own) > 0:
            raise DataError(f"column {weight!r}: all rows have the weight 0", "Give some a weight above 0.")
        right = task.weigh(right, torch.tensor(own, dtype=torch.float64) / (sum(own) / len(own)))
    return _told(path, loaded, made, right, rows.iloc[kept], options, context)


def _role(loaded: Model, role: str, without: str, columns: list[str], path: Path, context: Context) -> str | None:
    """The column of a role, where the model was made with one and the table has it; says what it lacks, and what that means."""
    found: str | None = loaded.dataset.schema["roles"].get(role)
    if found is None or found in columns:
        return found
    context.console.warn(f"{called(path)} has no column {found!r}, {without}")
    return None


def _known(path: Path, loaded: Model, outputs: Any, rows: pd.DataFrame, group: str | None, root: str) -> torch.Tensor:
    """What is known of rows without a target, see `Task.kinship`: which of their cells are equal (files: whose bytes are), and
    which rows are of one group.

    Raises:
        DataError: there are fewer than two rows in which anything can be found.
    """
    pairs = int((outputs.present.sum(1) > 1).sum())
    if pairs < 2:
        said = f"{called(path)} has {counted(pairs, 'row')} in which two columns or more are there"
        raise DataError(said, "It takes two at least: each row's cells are looked for among those of the others.")
    numbers: dict[tuple[str, ...], int] = {}
    new, cells, content = marked(rows, loaded.faces), [], functools.lru_cache(maxsize=None)(_content)
    for place, name in enumerate(loaded.task.columns):
        members = {own: item for own, item in loaded.inputs[name].members.items() if own in new}
        there = outputs.present[:, place].tolist() if members else [False] * len(rows)
        told = [
            [
                content(_cell(cell, loaded.na) or "", item.reads_files and here, root)
                for cell, here in zip(new[own], there, strict=True)
            ]
            for own, item in members.items()
        ]
        keys = zip(*told, strict=True) if members else [()] * len(rows)
        cells.append([numbers.setdefault(key, len(numbers)) if here else -1 for key, here in zip(keys, there, strict=True)])
    groups = None
    if group is not None:
        names = [_cell(cell, loaded.na) for cell in rows[group]]
        first = {own: number for number, own in enumerate(dict.fromkeys(filter(None, names)))}
        groups = np.array([first[own] if own else len(first) + row for row, own in enumerate(names)])
    return loaded.task.kinship(torch.tensor(cells, dtype=torch.int64), groups)


def _content(cell: str, is_file: bool, root: str) -> str:
    """What makes a cell equal to another: its text, or the bytes of its file and the mark behind its name."""
    if not is_file:
        return cell
    path = media.resolve(cell, root)
    try:
        found = media.source(path)
        with Path(found).open("rb") if isinstance(found, str) else found as file:
            said = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return cell
    return said + marks.parted(path)[1]


def _say_seen(loaded: Model, rows: pd.DataFrame, root: str, context: Context) -> None:
    """Warns of rows whose inputs are those of a row that the model was made from: on them it knows the answer. Where the table
    that it was made from cannot be read any more, that cannot be told."""
    dataset = loaded.dataset
    config, columns = dataset.artifact.config, [name for name in loaded.columns if name in rows]
    taught = torch.cat([dataset.splits["train"], dataset.splits["val"]]).tolist()
    cells, _ = raw_cells(dataset, taught, columns)
    if cells is None or set(cells) != set(columns):
        return
    old = str(config["schema"].get("media_root") or Path(str(config["table"])).parent)
    files = {name: item for own in loaded.inputs.values() for name, item in own.members.items() if item.reads_files}

    def key(values: Mapping[Any, Any], where: str) -> tuple[str, ...]:
        said = {name: "" if values[name] is None else str(values[name]) for name in columns}
        return tuple(media.resolve(cell, where) if cell and name in files else cell for name, cell in said.items())

    known = {key({name: cells[name].get(row) for name in columns}, old) for row in taught}
    new = marked(rows, loaded.faces)
    seen = [row for row, values in enumerate(new[columns].to_dict("records"), 1) if key(values, root) in known]
    if seen:
        context.console.warn(
            f"{len(seen):,} of {len(rows):,} rows {agreed(len(seen), 'have')} the inputs of rows that the model was made from "
            f"(the first: row {seen[0]}): it has learnt {them(len(seen))}, and the scores say little of new ones"
        )


def _scorable(loaded: Model, rows: pd.DataFrame, names: list[str], context: Context) -> tuple[Rows, list[int]]:
    """The target cells of the rows that can be scored, and which those are; the others are told.

    Raises:
        DataError: there are none.
    """
    task, na = loaded.task, loaded.na
    columns = [[_cell(cell, na) for cell in rows[name]] for name in names]
    cells: Cells = list(zip(*columns, strict=True))
    if not loaded.dataset.artifact.config["na"][1]:
        cells, notes = targets.without_missing_words(cells, names)
        for note in notes:
            context.console.note(note)
    if task.gives_embeddings:  # identities that no split has are looked for as well
        task = task.admitting([own for own in cells if task.is_labelled(task.config, own)])
        loaded.task = task
    config = task.config
    labelled = [row for row, own in enumerate(cells) if task.is_labelled(config, own)]
    if len(labelled) < len(cells):
        without = len(cells) - len(labelled)
        said = f"{without:,} of {len(cells):,} rows {agreed(without, 'have')} no {' or '.join(names)}: left out"
        context.console.warn(said)
    kept, strange = [], Counter[str]()
    first = 0
    for row in labelled:
        try:
            task.encode([cells[row]])
        except DataError:
            strange[" | ".join(map(str, cells[row]))] += 1
            first = first or row + 1
        else:
            kept.append(row)
    if strange:
        some = ", ".join(map(repr, list(strange)[:5])) + (", ..." if len(strange) > 5 else "")
        counted = f"{strange.total():,} row{'s' * (strange.total() > 1)}"
        context.console.warn(
            f"{counted} with a target that the model cannot answer with ({some}; the first: row {first}):"
            " left out of the scores, although it has them wrong"
        )
    if not kept:
        raise DataError(f"no row has a target that the model knows, of {len(cells):,}", f"It was made for: {task.summary()}.")
    return [cells[row] for row in kept], kept


def _cell(cell: Any, na: frozenset[str]) -> str | None:
    """A target's cell as preprocess takes it."""
    text = tidy(cell) if isinstance(cell, str) else ""
    return None if not text or text in na else text


def _told(
    path: Path, loaded: Model, outputs: Any, right: torch.Tensor, rows: pd.DataFrame, options: Options, context: Context
) -> Outcome:
    """Scores with intervals, of all rows and of each value of the columns to slice by."""
    task, seed = loaded.task, context.seed
    known = loaded.dataset
    constant = task.constant_baseline(known.targets[known.splits["train"]], len(right))
    if task.aligns_columns:  # the same are sought
        constant = replace(constant, present=outputs.present.cpu())
    scores = {"model": task.intervals(outputs, right, seed, more=True)}
    scores[f"baseline: {task.constant_name}"] = task.intervals(constant, right, seed, more=True)
    sliced: dict[str, dict[str, dict[str, Interval]]] = {}
    for column in options.slices:
        for value, places in rows.reset_index(drop=True).fillna({column: "missing"}).groupby(column).groups.items():
            index = torch.as_tensor(list(places))
            own = task.within(outputs, right, index, seed)
            sliced.setdefault(column, {})[str(value)] = own
    _table(scores, sliced, task, len(right), context)
    primary = task.primary_metric
    said = f"{loaded.artifact.name} on {counted(len(right), 'row')} of {called(path)}: {primary} {scores['model'][primary]}."
    context.console.note(said)
    data = {
        "table": str(path),
        "model": loaded.artifact.name,
        "rows": len(right),
        **({"weight": loaded.dataset.schema["roles"]["weight"]} if task.parted(right)[1] is not None else {}),
        "primary_metric": primary,
        "scores": {name: {metric: own.as_dict() for metric, own in each.items()} for name, each in scores.items()},
        "slices": {
            column: {value: {metric: own.as_dict() for metric, own in each.items()} for value, each in of.items()}
            for column, of in sliced.items()
        },
    }
    if task.aligns_columns:
        data["retrieval"] = task.retrieval(outputs, right, seed)
        context.console.table(*finding.table(data["retrieval"]))
    root = [] if options.media_root is None else ["--media-root", options.media_root]
    return Outcome(data, shlex.join(["mmcli", "predict", str(path), "-o", "predictions.csv", *root]))


def _table(
    scores: dict[str, dict[str, Interval]],
    sliced: dict[str, dict[str, dict[str, Interval]]],
    task: Task,
    rows: int,
    context: Context,
) -> None:
    primary = task.primary_metric
    others = [name for name in task.metrics if name not in {primary, "balanced_accuracy"}][:4]
    named = [(name, own, rows) for name, own in scores.items()]
    named += [(f"{column} = {value}", own, own[primary].n) for column, each in sliced.items() for value, own in each.items()]
    lines = []
    for name, own, count in named:
        score = own[primary]
        span = f"{shown(score.low)} to {shown(score.high)}"
        lines.append([name, f"{count:,}", shown(score.value), span, *(shown(own[other].value) for other in others)])
    context.console.table(["new rows", "rows", primary, "95% interval", *others], lines)
