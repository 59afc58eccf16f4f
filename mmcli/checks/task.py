"""What every task must do, whatever it is: encode targets, give a loss and scores, say and draw what it found.

The target cells are those of the kind that the task is surest of, or the EXAMPLES in its file: one tuple to a row.
"""

from __future__ import annotations

import json
import math
from typing import Any
from xml.etree import ElementTree

import torch

from mmcli import registry
from mmcli.checks import Check, examples
from mmcli.errors import ConfigError
from mmcli.heads import Head
from mmcli.signals import Fused
from mmcli.tables.names import listed
from mmcli.tasks import Cells, Evidence, Task

DIM = 7
STEPS = 24
"""Tokens of a row: more than any of the examples needs."""


class Subject:
    """A task under check, with target cells."""

    label = ""

    def __init__(self, name: str, cells: Cells, options: dict[str, Any]) -> None:
        self.name, self.cells = name, cells
        self.kind: type[Task] = registry.load("tasks", name)
        self.config = registry.config_of(self.kind)(**options)

    def fitted(self) -> Task:
        return self.kind.fit(self.config, self.cells, ["y", "z"][: len(self.cells[0])])

    def outputs(self, task: Task, rows: int | None = None) -> Any:
        """What a head, drawn at random, makes of random features, one row to a cell; as they are kept, without a gradient."""
        head, fused = self.head(task, rows)
        return task.outputs.plain(head(fused))

    def head(self, task: Task, rows: int | None = None) -> tuple[Head, Fused]:
        """A head drawn at random, and random features with as many tokens as answers may need."""
        torch.manual_seed(0)
        kind = registry.load("heads", task.heads[0])
        count = len(self.cells) if rows is None else rows
        tokens = torch.randn(count, STEPS, DIM)
        fused = Fused(tokens.mean(1), tokens, torch.ones(count, STEPS, dtype=torch.bool))
        return kind(registry.config_of(kind)(), task, DIM).eval(), fused


def head_and_loss(subject: Subject) -> None:
    """The head gives outputs for each row, of decisions `num_outputs` numbers; the loss is a finite scalar, and training can
    lower it."""
    task = subject.fitted()
    targets, (head, fused) = task.encode(subject.cells), subject.head(task)
    outputs = head(fused)
    assert len(targets) == len(subject.cells), f"{len(subject.cells)} rows have {len(targets)} targets"
    _right_size("the head", outputs, task, len(targets))
    loss = head.loss(outputs, fused, targets)
    assert loss.dim() == 0 and bool(loss.isfinite()), f"the loss is {loss.tolist()}, not a finite number"
    loss.backward()
    found = [float(own.grad.abs().sum()) for own in head.parameters() if own.grad is not None]
    assert any(found), "no gradient of the loss reaches the outputs"
    if task.weighable:
        every = torch.ones(len(targets))
        once, twice = (own.item() for own in (loss, head.loss(outputs, fused, task.weigh(targets, torch.full_like(every, 2)))))
        close = math.isclose(twice, 2 * once, rel_tol=1e-4)
        assert close, f"the loss is {once:g}, and {twice:g} where each row has the weight 2 (see Task.parted)"


def _right_size(what: str, outputs: Any, task: Task, rows: int) -> None:
    if not task.outputs.decides:
        found = task.outputs.rows(outputs)
        assert found == rows, f"{what} gives answers for {found} rows, not {rows}"
        return
    wanted = (rows, task.num_outputs)
    assert outputs.shape == wanted, f"{what} gives {list(outputs.shape)}, not {list(wanted)}"
    assert bool(outputs.isfinite().all()), f"{what} is not finite"


def scores_and_intervals(subject: Subject) -> None:
    """Every metric has a score and an interval around it; a model gains nothing over itself."""
    task = subject.fitted()
    targets, outputs = task.encode(subject.cells), subject.outputs(task)
    scores = task.score(outputs, targets)
    wanted = {"loss", *task.metrics}
    assert set(scores) == wanted, f"score gives {', '.join(sorted(scores))}; expected {', '.join(sorted(wanted))}"
    assert task.primary_metric in task.metrics, f"the primary metric {task.primary_metric!r} is none of its metrics"
    for metric, interval in task.intervals(outputs, targets).items():
        near = math.isclose(interval.value, scores[metric], rel_tol=1e-6, abs_tol=1e-12)
        assert near, f"{metric} is {scores[metric]} by itself, and {interval.value} with an interval"
        assert interval.low <= interval.high, f"the interval of {metric} is [{interval.low}, {interval.high}]"
    gain = task.gain(outputs, outputs, targets).value
    assert gain == 0, f"the gain of a model over itself is {gain}"


def state_is_json(subject: Subject) -> None:
    """What it has learnt survives the disk."""
    task = subject.fitted()
    again = type(task).from_state(json.loads(json.dumps(task.state())))
    assert again.config == task.config, "made again from its state it has other options"
    same = torch.equal(again.encode(subject.cells), task.encode(subject.cells))
    assert same, "made again from its state it encodes targets in another way"


def baselines_have_outputs_for_every_row(subject: Subject) -> None:
    """What sees no input, and what is linear, give outputs as a model does."""
    task = subject.fitted()
    targets = task.encode(subject.cells)
    rows = torch.arange(len(targets))
    constant = task.constant_baseline(targets, len(targets))
    features = torch.randn(len(targets), 3, generator=torch.Generator().manual_seed(0)).double().numpy()
    found = {"constant": constant}
    if not task.lacks("linear baseline") and not task.aligns_columns:
        found["linear"] = task.linear_baseline(features, targets, rows[: len(rows) // 2], rows[len(rows) // 2 :])
    alike = task.cosine_baseline(torch.linspace(-1, 1, len(targets)), targets, rows)
    found |= {} if alike is None else {"cosine": alike}
    if task.aligns_columns:
        inputs = {name: Evidence(features) for name in task.columns}
        found |= task.more_baselines(inputs, targets, rows[: len(rows) // 2], rows[len(rows) // 2 :])
    nearest = task.nearest_baseline(features, targets, rows[: len(rows) // 2])
    found |= {} if nearest is None else {"nearest": nearest}
    held_against = {task.constant_name, *found} - {"constant"}
    assert task.reference_baseline in held_against, f"there is no baseline {task.reference_baseline!r} to be held against"
    for name, outputs in found.items():
        _right_size(f"the {name} baseline", outputs, task, len(targets))


def it_says_and_draws_what_it_found(subject: Subject) -> None:
    """A summary in words, and pictures with a caption each, which is a sentence."""
    task = subject.fitted()
    targets = task.encode(subject.cells)
    assert task.summary(), "the summary is empty"
    drawn = task.draw(subject.outputs(task), targets)
    assert drawn, "it draws nothing"
    for name, (figure, caption) in drawn.items():
        ElementTree.fromstring(figure.standalone())
        assert caption.endswith("."), f"the caption of {name} is no sentence: {caption!r}"


def predictions_have_a_value_to_a_row(subject: Subject) -> None:
    """`decode` gives columns, each as long as the outputs; so does `alternatives`, one for each further answer."""
    task = subject.fitted()
    outputs = subject.outputs(task, 5)
    columns, more = task.decode(outputs), task.alternatives(outputs, task.most_answers)
    assert columns, "decode gives no columns"
    wanted = task.most_answers - 1
    assert len(more) == wanted, f"alternatives gives {len(more)} columns, not {wanted}"
    if task.answers:
        strange = {own for own in columns.get("", ()) if own is not None} - set(task.answers)
        assert not strange, f"decode answers {', '.join(sorted(map(repr, strange)))}, which is none of its `answers`"
    if task.items:
        found = [listed(cell) for cell in columns.get("", ())]
        assert None not in found, "decode answers what is no list, though it has `items`"
        strange = {name for names in found for name in names or ()} - set(task.items)
        assert not strange, f"decode lists {', '.join(sorted(strange))}, which is none of its `items`"
    columns = {**columns, **more}
    for suffix, values in columns.items():
        assert len(values) == 5, f"column {suffix!r} has {len(values)} values for 5 rows"


def strata_have_a_value_to_a_row(subject: Subject) -> None:
    """What should be spread evenly over the splits is known of each row."""
    found = len(subject.kind.strata(subject.config, subject.cells))
    assert found == len(subject.cells), f"{len(subject.cells)} rows have {found} strata"


CHECKS: tuple[Check, ...] = (
    head_and_loss,
    scores_and_intervals,
    state_is_json,
    baselines_have_outputs_for_every_row,
    it_says_and_draws_what_it_found,
    predictions_have_a_value_to_a_row,
    strata_have_a_value_to_a_row,
)


def subjects(name: str, **options: Any) -> list[Subject]:
    """The task with default options, or with these, and target cells that are of its kind.

    Raises:
        ConfigError: it takes none of those that there are for its own, and brings none.
    """
    kind: type[Task] = registry.load("tasks", name)
    config = registry.config_of(kind)(**options)
    brought = registry.resolve("tasks", name).literals.get("EXAMPLES")
    if brought:
        rows = [row if isinstance(row, tuple) else (row,) for row in brought]
        return [Subject(name, rows * -(-24 // len(rows)), options)]
    known = examples.TARGETS
    if name in known:
        return [Subject(name, known[name], options)]
    sure = {key: kind.sniff(config, [row for row in cells if None not in row]).confidence for key, cells in known.items()}
    best = max(sure, key=lambda key: sure[key])
    if not sure[best]:
        raise ConfigError(
            f"{name}: sniff takes none of the targets that there are to try it on for its own",
            "Put target cells that it takes into its file: EXAMPLES = [('...',), ('...',)]",
        )
    return [Subject(name, known[best], options)]
