"""Single rows as a report shows them: worst errors, pairs, doubtful targets, duplicates, named as the table names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.models import loading
from mmcli.proof import differences, leakage
from mmcli.proof.examples import examples


def worst(
    errors: Sequence[Sequence[Any]], dataset: Dataset, best: Artifact, instead: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """Rows that are wrongly answered, each with what is seen of it, the right answer and the one that was given: what was
    predicted, or, where rows are compared, which one each was taken for `instead` (from 1)."""
    rows = [int(row) - 1 for row, _ in errors]
    if not rows:
        return []
    outputs = dataset.task.outputs.gather(loading.outputs(best, dataset), torch.tensor(rows))
    decoded = dataset.task.decode(outputs)
    pieces = differences.pieces(dataset.task, outputs, dataset.targets[torch.tensor(rows)])
    answers = {name: cells for name, cells in decoded.items() if "probability" not in name}
    predicted = [", ".join(map(_told, answers, values)) or "none" for values in zip(*answers.values(), strict=True)]
    given = [f"predicted {own}" for own in predicted]
    if instead:
        given = [f"taken for {called(dataset)} {_row_name(row - 1, dataset)} ({_right(row - 1, dataset)})" for row in instead]
    return [
        {
            "row": _row_name(row, dataset),
            "said": said,
            "right": _right(row, dataset),
            "given": given[place],
            "pieces": pieces[place],
            "plain": differences.plain(pieces[place]),
            "views": views,
        }
        for place, ((_, said), row, views) in enumerate(zip(errors, rows, examples(dataset, rows), strict=True))
    ]


def _right(row: int, dataset: Dataset) -> str:
    """The target of a row (from 0)."""
    return ", ".join(cell or "" for cell in dataset.cells[row])


def _told(name: str, value: Any) -> str:
    """A cell of an answer, with what it is where that is no answer itself."""
    if value is None:
        return "none"
    if name == "_similarity":
        return f"similarity {value:.3f}"
    if name == "_accepted":
        return "accepted" if value else "not accepted, as unknown"
    return str(value)


def pairs(found: Sequence[Sequence[Any]], dataset: Dataset) -> list[dict[str, Any]]:
    """Pairs of rows that are wrongly taken for alike or unlike, each with what is seen of both."""
    rows = [int(row) - 1 for pair in found for row in pair[:2]]
    views = examples(dataset, rows) if rows else []
    sides = [
        {"row": _row_name(row, dataset), "right": _right(row, dataset), "views": own}
        for row, own in zip(rows, views, strict=True)
    ]
    return [{"said": said, "sides": sides[2 * n : 2 * n + 2]} for n, (_, _, said) in enumerate(found)]


def suspects(found: Sequence[Sequence[Any]], dataset: Dataset) -> list[dict[str, Any]]:
    """Rows whose targets look wrong, and what is likelier."""
    names = getattr(dataset.task, "classes", [])
    result = []
    for row, share, other in found:
        split = str(dataset.rows["split"].iloc[row - 1])
        right = ", ".join(cell or "" for cell in dataset.cells[row - 1])
        named = _row_name(row - 1, dataset)
        result.append({"row": named, "split": split, "given": right, "share": share, "likely": names[other]})
    return result


def called(dataset: Dataset) -> str:
    """What the names of the rows are called: the id column, or `row`."""
    return str(dataset.artifact.config["schema"].get("id") or "row")


def _row_name(row: int, dataset: Dataset) -> str:
    """A row (from 0) as the table names it: by its id, or its number from 1."""
    return str(dataset.rows["id"].iloc[row])


def duplicates(found: Mapping[str, Any], dataset: Dataset) -> str:
    """Which test rows are in train too."""
    blurred = " Nearly the same ones were not looked for: the encoders hardly tell rows apart." if found.get("blurred") else ""
    if not found["exact"] and not found["near"]:
        nearly = "" if blurred else ", neither exactly nor nearly with the same answer"
        return f"No test row is in train too{nearly}.{blurred}"
    near = f"; {found['near']} more are nearly the same to the encoders" if found["near"] else ""
    pairs = [[_row_name(row - 1, dataset) for row in pair[:2]] for pair in (found["exact_pairs"] + found["near_pairs"])[:12]]
    return (
        f"{found['exact']} test rows are in train too, to the bit{near}: scores on them say little about new rows. Pairs of "
        f"{called(dataset)} (test and train): {'; '.join(f'{test} and {train}' for test, train in pairs)}.{blurred}"
    )


def leaks(found: Sequence[Mapping[str, Any]], dataset: Dataset) -> list[str]:
    """What train knows of the test rows, in a sentence each."""
    rows = {own for leak in found for line in leak["told"] if isinstance(line, list) for own in line if isinstance(own, int)}
    return leakage.said(found, {row: _row_name(row - 1, dataset) for row in rows}, called(dataset))
