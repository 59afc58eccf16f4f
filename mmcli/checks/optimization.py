"""What every optimization must do, whatever it is: propose models that run, without test, leaving alone what it is given.

The model that it starts from is a tiny one, which the stages make of a small table.
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcli import registry
from mmcli.checks import Check
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.models import loading, runners
from mmcli.models.recipe import Recipe
from mmcli.optimizations import Candidate, Optimization, Workbench
from mmcli.options.preprocess import Options as TableOptions
from mmcli.reporting.console import Console
from mmcli.stages import Context, fuse, optimize, preprocess, train_encoder
from mmcli.training import device

FAMILIES = ("accuracy", "smaller", "runtime")
MOST = 2
"""Proposals that are looked at."""
TRIALS = 2
SECONDS = 60.0
SETTINGS = Settings(
    {"encoder": {"mlp": {"members": 1, "hidden": 8}, "bag": {"buckets": 64, "dim": 8}}, "training": {"epochs": 2}}
)


@dataclass(frozen=True)
class Found:
    """What came of one run."""

    reason: str
    """Why there are no proposals, in the part's words or the machine's."""
    made: list[Candidate]
    changed: list[str]
    """Weights of the model given that are no longer what they were."""
    outputs: dict[str, Tensor]
    """Proposal -> its outputs for the val rows, run in its own way."""
    rebuilt: dict[str, Tensor]
    """The same of a model made from the proposal's recipe and weights."""
    improves: list[Any]
    shape: tuple[int, int]


class Subject:
    """An optimization under check; what it proposes for a tiny fused model is asked of it once."""

    label = ""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.kind: type[Optimization] = registry.load("optimizations", name)
        self.config = registry.config_of(self.kind)(**options)

    @cached_property
    def found(self) -> Found:
        part = self.kind(self.config)
        with _bench() as bench:
            given = Candidate("fused", loading.load_fused(bench.dataset, bench.base), Recipe.of(bench.base))
            before = {key: value.clone() for key, value in given.network.state_dict().items()}
            reason, made = part.lacking(given, bench), list[Candidate]()
            if not reason:
                try:
                    made = list(islice(part.proposals(given, bench), MOST))
                except RuntimeError as error:  # this machine does not allow it
                    reason = runners.why_not(error)
            after = given.network.state_dict()
            changed = [key for key, value in before.items() if key not in after or not torch.equal(value, after[key])]
            outputs = {own.name: _outputs(own, bench) for own in made}
            plain = [own for own in made if own.file is None and own.way == runners.TORCH]
            rebuilt = {own.name: _outputs(_rebuilt(own, bench.dataset), bench) for own in plain}
            old = bench.val_outputs(given.network)
            improves = [part.improves(old, outputs[own.name], bench) for own in made]
            shape = (len(bench.dataset.splits["val"]), bench.dataset.task.num_outputs)
        return Found(reason, made, changed, outputs, rebuilt, improves, shape)


def it_says_what_it_is_for(subject: Subject) -> None:
    """The family is accuracy, smaller or runtime; where there is nothing to do, it says why."""
    family = getattr(subject.kind, "family", None)
    assert family in FAMILIES, f"family is {family!r}, not one of {', '.join(FAMILIES)}"
    assert isinstance(subject.found.reason, str), f"unfit gives {subject.found.reason!r}, not words"


def it_proposes_models_without_test(subject: Subject) -> None:
    """From train and val alone it makes candidates, each with a name of its own."""
    made = subject.found.made
    for own in made:
        assert isinstance(own, Candidate), f"it proposes a {type(own).__name__}, not a Candidate"
        assert own.name, "a proposal has no name"
    names = [own.name for own in made]
    assert len(set(names)) == len(names), f"two proposals have the same name: {', '.join(names)}"


def the_model_given_stays_as_it_was(subject: Subject) -> None:
    """What is proposed is a copy: the weights given are the same afterwards."""
    changed = subject.found.changed
    assert not changed, f"it changes the model that it is given: {', '.join(changed[:3])}"


def proposals_run(subject: Subject) -> None:
    """Each gives finite outputs for the val rows, run in its own way."""
    for name, outputs in subject.found.outputs.items():
        shape = subject.found.shape
        assert outputs.shape == shape, f"{name} gives {list(outputs.shape)}, not {list(shape)}"
        assert bool(outputs.isfinite().all()), f"the outputs of {name} are not finite"


def the_recipe_makes_the_same_model(subject: Subject) -> None:
    """The recipe of a proposal, with its weights, gives the same outputs: an artifact holds no more."""
    for name, outputs in subject.found.rebuilt.items():
        same = torch.allclose(outputs, subject.found.outputs[name], atol=1e-5, rtol=1e-4)
        assert same, f"{name}, made again from its recipe and weights, gives other outputs"


def improving_is_yes_or_no(subject: Subject) -> None:
    """Whether val outputs are worth keeping is a plain answer."""
    for answer in subject.found.improves:
        assert isinstance(answer, bool), f"improves gives {answer!r}, not True or False"


CHECKS: tuple[Check, ...] = (
    it_says_what_it_is_for,
    it_proposes_models_without_test,
    the_model_given_stays_as_it_was,
    proposals_run,
    the_recipe_makes_the_same_model,
    improving_is_yes_or_no,
)


def subjects(name: str, **options: Any) -> list[Subject]:
    """The optimization with default options, or with these."""
    return [Subject(name, options)]


def _outputs(candidate: Candidate, bench: Workbench) -> Any:
    if candidate.file is not None:
        candidate.file.parent.mkdir(parents=True, exist_ok=True)
        signals = runners.batch_of(candidate.network, bench.dataset, 4, bench.compute)
        runners.write(candidate.way, candidate.network, signals, candidate.file, candidate.whole)
    own = runners.runner(candidate.way, candidate.network, bench.compute, candidate.file)
    val = bench.dataset.splits["val"]
    columns = {name: bench.dataset.column(name).select(val) for name in candidate.network.inputs}
    return own.outputs(columns, bench.compute.device)


def _rebuilt(candidate: Candidate, dataset: Dataset) -> Candidate:
    return replace(candidate, network=candidate.recipe.build(dataset, candidate.network.state_dict()))


@contextmanager
def _bench() -> Iterator[Workbench]:
    """A workbench over the tiny model, its data without test."""
    bench = _of(_root())
    vars(bench.dataset)["splits"] = {split: rows for split, rows in bench.dataset.splits.items() if split != "test"}
    with tempfile.TemporaryDirectory() as folder:
        yield replace(bench, folder=Path(folder), deadline=time.monotonic() + SECONDS)


def _of(root: Path) -> Workbench:
    options = optimize.Options(trials=TRIALS, time_budget=SECONDS)
    compute = device.choose("cpu", "float32", 1)
    return optimize.bench_for(loading.fresh_fusions(root)[0], Dataset.open(root), SETTINGS, compute, options, _context(root))


@cache
def _root() -> Path:
    """The artifacts of a number and a word that tell the class together, fused."""
    folder = Path(_kept.enter_context(tempfile.TemporaryDirectory()))
    table = folder / "data.csv"
    words = ("it goes up", "all of it goes down again")
    rows = [[str(i % 7), f"{words[i // 2 % 2]}, {i:02d} of them", ("train", "train", "val", "test")[i % 4]] for i in range(48)]
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "word", "split", "label"])
        writer.writerows([*row, "big" if (int(row[0]) > 3) == ("up" in row[1]) else "small"] for row in rows)
    context = _context(folder / "artifacts")
    preprocess.run(table, TableOptions(), context)
    train_encoder.run(train_encoder.Options(architectures=("mlp", "bag")), context)
    fuse.run(fuse.Options(methods=("gated", "concat"), seeds=2), context)
    _of(context.root).search().run(time.monotonic() + SECONDS, TRIALS, context.console)
    return context.root


def _context(root: Path) -> Context:
    return Context(root=root, console=Console(quiet=True), settings=SETTINGS, device="cpu", precision="float32", threads=1)


_kept = ExitStack()
"""Holds the folder of the artifacts as long as the process lives."""
