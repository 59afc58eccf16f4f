"""A tabular foundation model of the folder `MMCLI_MODELS` asked about a form: which of them fits the target, which train rows
stand in its context, what it answers to every row. One pass is both a baseline and what a fused model may hold as a member.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from mmcli.artifacts import store
from mmcli.data.dataset import Dataset
from mmcli.errors import ConfigError
from mmcli.jobs.plain import BATCH, Solved, head_of
from mmcli.models import plain
from mmcli.models.in_context import MOST_ROWS, InContext, check
from mmcli.pretrained import hub, licences, shelf, tabular
from mmcli.pretrained.tabular import Network
from mmcli.reporting.console import Console
from mmcli.signals import Column, Signal

TENTHS = 10
"""Into so many parts of as many rows numbers are parted, each of which the context holds alike."""
ROWS = 10
"""Train rows below which nothing is asked."""
MOST_ASKED = 50_000
"""Rows of a table beyond which asking about each takes too long."""
SECONDS = 600.0
"""Of one core that asking about a table may take."""
PUBLISHED = 27_600_000
"""Numbers of the network whose seconds were taken (`benchmarks/in_context.py`)."""


@dataclass(frozen=True)
class Asked:
    """The model that is asked."""

    name: str
    """As it is called in messages."""
    folder: Path
    network: Network
    form: str
    """The input of numbers and categories."""


def told(dataset: Dataset, inputs: Sequence[str], within: float = SECONDS) -> tuple[str, list[str]]:
    """What the model that would be asked about these inputs `within` seconds is told by, its files' content and the version of
    the package, empty where there is none; and what is to be said of those that are not asked."""
    found, why = _chosen(dataset, inputs, within)
    if found is None:
        return "", why
    files = [store.file_digest(own) for own in (found.folder / "config.json", tabular.file(found.folder))]
    return "+".join([*files, f"tabicl {metadata.version('tabicl')}"]), why


@torch.no_grad()
def answer(dataset: Dataset, inputs: Sequence[str], console: Console, within: float = SECONDS) -> tuple[Solved, Tensor] | None:
    """The model with train rows of these inputs in its context, and its outputs for all rows as the task scores them; None
    where there is none that can be asked."""
    found, _ = _chosen(dataset, inputs, within)
    if found is None:
        return None
    try:
        encoder = _encoder(found, dataset)
    except ConfigError as error:
        console.warn(_not_asked(found.name, error))
        return None
    column, task, val = dataset.column(found.form), dataset.task, dataset.splits["val"]
    nothing = torch.full((1, dataset.input(found.form).spec.shape[0]), float("nan"))
    encoder.absent.copy_(encoder.encode(Signal(nothing, torch.ones(1, dtype=torch.bool)))[0][0])
    said = torch.cat([encoder(column.gather(part)).pooled for part in torch.arange(len(column)).split(BATCH)])
    name, origin = f"{found.form}/{plain.IN_CONTEXT}", licences.of_path(found.folder)
    choice = {
        "input": found.form,
        "architecture": plain.IN_CONTEXT,
        "encoder": encoder.config.model_dump(),
        "solved": True,
        "origin": origin.as_dict(),
    }
    head = head_of({name: choice}, dataset)
    head.absent[0].copy_(encoder.absent)
    decide = task.decision_head()
    task.settle(decide, said[val], dataset.targets[val])
    console.note(
        f"baselines: {found.name} is asked about each row with {encoder.config.rows} train rows before it; where it becomes a "
        "member of the fused model, its artifact holds these rows"
    )
    made = Solved({name: choice}, {name: encoder}, head, {name: said}, {name: column.present.cpu()})
    return made, decide(said).double()


def seconds(network: Network, rows: int, context: int, columns: int) -> float:
    """About how long one core takes over `rows` with so many in the context, in four views: milliseconds a row that a network
    of the published size took, which grow with columns and context; a row of the context costs more, since it is looked at
    from both sides."""
    each = 1.4 + 0.14 * columns + 0.0016 * context
    return network.numbers / PUBLISHED * (rows + 1.6 * context) * each / 1000


def _chosen(dataset: Dataset, inputs: Sequence[str], within: float) -> tuple[Asked | None, list[str]]:
    """The first of the folder's models that can be asked; and what is to be said of others: what is wrong with them, and where
    there is none, why they do not fit."""
    broken, unfit = [], []
    for model in shelf.look().tabular:
        try:
            folder = hub.local(f"{shelf.VARIABLE}/{model.name}")
            assert folder is not None
            network = tabular.network(folder)
            if why := _unfit(network, dataset, inputs) or _too_long(network, dataset, inputs, within):
                unfit.append(f"{model.architecture} is not asked: {why}")
                continue
            hub.need("tabicl", model.architecture, "tabular")
            check(network, tabular.shapes(folder))
        except ConfigError as error:
            broken.append(_not_asked(model.architecture, error))
            continue
        (form,) = _forms(dataset, inputs)
        return Asked(model.architecture, folder, network, form), broken
    return None, broken + unfit


def _not_asked(name: str, error: ConfigError) -> str:
    return f"{name} is not asked: {error.message}. {error.remedy}"


def _forms(dataset: Dataset, inputs: Sequence[str]) -> list[str]:
    return [name for name in inputs if dataset.input(name).spec.kind == "fields"]


def _unfit(network: Network, dataset: Dataset, inputs: Sequence[str]) -> str:
    """Why it cannot answer such targets of these inputs; empty where it can."""
    task, forms = dataset.task, _forms(dataset, inputs)
    if why := task.lacks("plain member"):
        return why
    if len(forms) != 1:
        return f"it reads one input of numbers and categories, and there are {len(forms) or 'none'}"
    if len(dataset.rows) > MOST_ASKED:
        return f"it is asked about each row, and the table has {len(dataset.rows):,}, more than {MOST_ASKED:,}"
    if (rows := len(_train(dataset, forms[0]))) < ROWS:
        return f"{rows} train rows have numbers or categories, fewer than {ROWS}"
    link, width = task.decision.link, task.decision.width
    if link == "sigmoid":
        return "a row may have several labels, and it gives one class"
    if link == "identity":
        if network.max_classes:
            return "it tells classes, and the target is a number"
        return f"the target is {task.target_width} numbers, and it gives one" if task.target_width > 1 else ""
    if not network.max_classes:
        return "it gives a number, and the target is a class"
    return f"the target has {width} classes, and it tells {network.max_classes} at most" if width > network.max_classes else ""


def _too_long(network: Network, dataset: Dataset, inputs: Sequence[str], within: float) -> str:
    """Why asking it about each row takes too long; empty where it does not."""
    (form,), rows = _forms(dataset, inputs), len(dataset.rows)
    columns, context = dataset.input(form).spec.shape[0], min(len(_train(dataset, form)), MOST_ROWS)
    within, needed = min(within, SECONDS), seconds(network, rows, context, columns)
    if needed <= within:
        return ""
    cells = f"{rows:,} rows of {columns:,} columns, {context:,} of them before each"
    return f"{cells}, would take about {needed:,.0f} s of one core, more than {within:,.0f}"


def _train(dataset: Dataset, form: str) -> Tensor:
    """The train rows whose form is there."""
    train = dataset.splits["train"]
    return train[dataset.column(form).present.cpu()[train]]


def _encoder(found: Asked, dataset: Dataset) -> InContext:
    """The model with its context.

    Raises:
        ConfigError: its weights are not those of its config.
    """
    task, column = dataset.task, dataset.column(found.form)
    train = _train(dataset, found.form)
    right = task.parted(dataset.targets[train])[0]
    levels = () if found.network.max_classes else tuple(task.levels) or (0.5,)
    right = right[:, 0] if levels else right
    places = _stratified(_parts(right) if levels else right, MOST_ROWS)
    rows = train[places]
    assert isinstance(column, Column)
    spec = dataset.input(found.form).spec
    weights = tabular.tensors(found.folder)
    return InContext.of(found.network, weights, column.values[rows], right[places], spec, task.decision.width, levels)


def _parts(numbers: Tensor) -> Tensor:
    """The tenth that each number lies in."""
    ends = numbers.double().quantile(torch.linspace(0, 1, TENTHS + 1, dtype=torch.float64)[1:-1])
    return torch.searchsorted(ends, numbers.double())


def _stratified(kinds: Tensor, most: int) -> Tensor:
    """Places of so many rows at most, in order: all where there are no more, else drawn so that each kind, [N], has its share,
    and one at least while there is room."""
    if len(kinds) <= most:
        return torch.arange(len(kinds))
    drawn = torch.randperm(len(kinds), generator=torch.Generator().manual_seed(0))
    own = kinds[drawn]
    rank = torch.zeros(len(own), dtype=torch.float64)
    for kind in own.unique():
        here = (own == kind).nonzero()[:, 0]
        rank[here] = torch.arange(len(here), dtype=torch.float64) / len(here)
    return drawn[rank.argsort(stable=True)[:most]].sort().values
