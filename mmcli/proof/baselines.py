"""What a fused model is held against: a constant and a linear model on the same inputs, boosted trees and a tabular foundation
model on its numbers and categories, and of texts what needs no network; as an artifact of their outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.jobs import in_context
from mmcli.jobs.plain import Solved, grow, solve
from mmcli.jobs.recalling import remember
from mmcli.layers.pairs import grey_pixels
from mmcli.models import loading, plain, recall
from mmcli.proof.examples import raw_cells
from mmcli.reporting.console import Console
from mmcli.signals import Column, Signal, Source
from mmcli.tasks import Evidence, Task

OUTPUTS = "outputs.safetensors"
VERSION = 8
DESCRIBED = {
    "majority": "always saying the commonest class of train, whatever the inputs",
    "linear": "a linear model on the same inputs",
    "nearest": "the target of the train row whose inputs are most alike",
    "medoid": "the train text that is nearest to the others, whatever the inputs",
    "cosine": "how alike the columns are as they are (grey pixels, or words), with a threshold and nothing learnt",
    "trees": "boosted trees on the numbers and categories",
    "in-context": "TabICL on the numbers and categories",
    "empty": "no text at all",
    "copy": "the text of {} as it is",
    "dictionary": "each word of {} looked up in a dictionary that train teaches (IBM model 1)",
    "linear-ctc": "a linear reader of the frames of {} (CTC)",
}
"""By the name, up to a colon where it looks at one input."""


def ensure(
    dataset: Dataset,
    columns: Sequence[str],
    console: Console,
    *,
    kept: bool = False,
    within: float = in_context.SECONDS,
) -> Artifact:
    """The baselines for these inputs: as they are if fresh, else made now (a few seconds). A tabular foundation model is asked
    where it takes no longer than `within` seconds; where those that are there are `kept`, the one that they hold, or none."""
    root = dataset.artifact.root
    parents = {key: value for column in columns for key, value in dataset.artifact.parent(column).items()}
    known = [parents, list(columns), VERSION]
    before = None
    if kept and store.exists(root, layout.BASELINES):
        before = str(store.read(root, layout.BASELINES, "baselines", "mmcli fuse").config.get("asked", ""))
        found = store.up_to_date(root, layout.BASELINES, store.digest([*known, *([before] if before else [])]))
        if found:
            return found
    asked, why = in_context.told(dataset, columns, within)
    for line in () if before is not None or layout.is_fold(root) else why:
        console.warn(line)
    if before is not None and before != asked:
        if before:
            console.warn("baselines: TabICL, which was asked before, is not there as it was: they are made without it")
        asked = ""
    fingerprint = store.digest([*known, *([asked] if asked else [])])
    found = store.up_to_date(root, layout.BASELINES, fingerprint)
    if found:
        return found
    late: dict[str, Any] = {}
    with store.writing(
        root,
        layout.BASELINES,
        kind="baselines",
        command="mmcli fuse",
        config={"columns": list(columns)},
        seed=0,
        parents=parents,
        fingerprint=fingerprint,
        late=late,
    ) as draft:
        started = time.monotonic()
        answered = in_context.answer(dataset, columns, console, within) if asked else None
        outputs, solved = _outputs(dataset, columns, console, answered)
        late["asked"] = "" if answered is None else asked
        kind = dataset.task.outputs
        late["solved"] = {method: own.choices for method, own in solved.items()}
        late["solved_fusions"] = {method: own.fusion for method, own in solved.items()}
        for method, own in solved.items():
            draft.tensors[file_of(method)] = tensors.save(draft.path / file_of(method), own.save())
        named = {key: tensor for name, own in outputs.items() for key, tensor in kind.save(own, name).items()}
        draft.tensors[OUTPUTS] = tensors.save(draft.path / OUTPUTS, named)
        val = dataset.splits["val"]
        for name, each in outputs.items():
            draft.metrics[name] = {"val": dataset.task.score(kind.gather(each, val), dataset.targets[val])}
        each = ", ".join(_with_what_it_reads(name, columns, dataset) for name in outputs)
        console.note(f"baselines on {', '.join(columns)} in {time.monotonic() - started:.1f} s: {each}")
    return store.read(root, layout.BASELINES, "baselines", "mmcli fuse")


def models(artifact: Artifact, dataset: Dataset) -> dict[str, Solved]:
    """What may be a member of a fused model, by what a recipe calls it: the linear baseline, trees, a tabular foundation model,
    known texts."""
    found = {}
    with artifact.understood("solved"):
        named_choices, built_by = dict(artifact.config["solved"]), dict(artifact.config["solved_fusions"])
    for method, choices in named_choices.items():
        named = tensors.of(artifact, file_of(method))
        with artifact.understood(file_of(method)):
            found[method] = Solved.load(choices, built_by[method], named, dataset)
    return found


def file_of(method: str) -> str:
    """Where such a baseline itself lies; the config says what it is of."""
    return f"{method}.safetensors"


COSINE = "cosine"
"""How alike the plain features of columns that share an encoder are: grey pixels, or words by TF-IDF; nothing is learnt."""


def names(artifact: Artifact) -> tuple[str, ...]:
    """What the baselines are called."""
    return tuple(artifact.metrics)


def described(name: str) -> str:
    """What a baseline is, in words."""
    kind, _, column = name.partition(":")
    if kind == "nearest" and column:
        return f"the target of the train row whose {column} is most alike"
    found = DESCRIBED.get(kind)
    return found.format(column) if found else f"the {name} of the train targets, whatever the inputs"


def reads(name: str, columns: Sequence[str], dataset: Dataset) -> list[str]:
    """Which of the inputs `columns` a baseline looks at."""
    kind, _, column = name.partition(":")
    if column in columns:
        return [column]
    if kind in {plain.TREES, plain.IN_CONTEXT}:
        return [own for own in columns if dataset.input(own).spec.kind == "fields"]
    return [] if kind in {dataset.task.constant_name, "empty"} else list(columns)


def _with_what_it_reads(name: str, columns: Sequence[str], dataset: Dataset) -> str:
    """Its name, and what it looks at where that is not all inputs and its name does not tell."""
    found = reads(name, columns, dataset)
    if len(found) == len(columns) or ":" in name:
        return name
    return f"{name} (reads {', '.join(found) or 'no input'})"


def outputs(artifact: Artifact, dataset: Dataset) -> dict[str, Any]:
    """Each baseline's outputs for all rows."""
    named = tensors.of(artifact, OUTPUTS)
    with artifact.understood(OUTPUTS):
        kind = dataset.task.outputs
        return {name: loading.answers(kind.load(named, name), dataset) for name in names(artifact)}


def _outputs(
    dataset: Dataset, columns: Sequence[str], console: Console, answered: tuple[Solved, Tensor] | None
) -> tuple[dict[str, Any], dict[str, Solved]]:
    """Of each baseline its outputs for all rows; and those that may be members, as models: with what a tabular foundation model
    `answered`."""
    task, train, solved = dataset.task, dataset.splits["train"], dict[str, Solved]()
    found = {task.constant_name: task.constant_baseline(dataset.targets[train], len(dataset.rows))}
    if task.lacks("plain member"):
        found |= _by_features(dataset, columns, console)
        solved |= {} if task.lacks("known texts") else {recall.METHOD: remember(dataset, columns)}
    else:
        solved[plain.METHOD], found["linear"] = solve(dataset, columns)
    grown = grow(dataset, columns)
    if grown is not None:
        model, found[plain.TREES] = grown
        solved |= {} if model is None else {plain.TREES: model}
    if answered is not None:
        solved[plain.IN_CONTEXT], found[plain.IN_CONTEXT] = answered
    return found, solved


def _by_features(dataset: Dataset, columns: Sequence[str], console: Console) -> dict[str, Any]:
    """Those that read what modalities say a linear model sees."""
    task, train, val = dataset.task, dataset.splits["train"], dataset.splits["val"]
    found: dict[str, Any] = {}
    blocks = [_scaled(dataset.linear_features(name, train), train.numpy()) for name in columns]
    features = blocks[0] if len(blocks) == 1 else _beside(blocks)
    nearest = task.nearest_baseline(features, dataset.targets, train)
    if nearest is not None:
        found["nearest"] = nearest
    if type(task).more_baselines is not Task.more_baselines:
        inputs = _evidence(dataset, dict(zip(columns, blocks, strict=True)), console)
        found |= task.more_baselines(inputs, dataset.targets, train, val)
    if task.lacks("linear baseline") or task.aligns_columns:  # of columns that are aligned it is among the others
        return found
    found["linear"] = task.linear_baseline(features, dataset.targets, train, val)
    cosine = _cosine(dataset, columns) if task.compares_columns else None
    if cosine is not None and (alike := task.cosine_baseline(cosine, dataset.targets, val)) is not None:
        found[COSINE] = alike
    return found


def _cosine(dataset: Dataset, columns: Sequence[str]) -> Tensor | None:
    """[N]: the mean cosine over every two columns that share an encoder, of what of them is taken as it is."""
    groups = {dataset.owner(name): dataset.readers(dataset.owner(name)) for name in columns}
    found = []
    for readers in groups.values():
        features = _plain(dataset, readers) if len(readers) > 1 else []
        for one, other in combinations(range(len(features)), 2):
            product = features[one].multiply(features[other]) if not isinstance(features[one], np.ndarray) else None
            alike = (features[one] * features[other]).sum(1) if product is None else product.sum(1)
            found.append(torch.from_numpy(np.asarray(alike, dtype=np.float64).ravel()))
    return torch.stack(found).mean(0) if found else None


def _plain(dataset: Dataset, readers: Sequence[str]) -> list[Any]:
    """Of each column [N, F], rows of length one: grey pixels of pictures; else what a linear model sees, learnt on all."""
    columns = [dataset.column(name) for name in readers]
    if dataset.input(readers[0]).spec.kind == "grid":
        return [np.concatenate([grey_pixels(p.values, 16).numpy() for p in _parts(own)]) for own in columns]
    found, rows, train = dataset.input(readers[0]), len(dataset.rows), dataset.splits["train"]
    held = [own if isinstance(own, Column) else own.read(torch.arange(rows)) for own in columns]
    every = torch.cat([train + place * rows for place in range(len(held))])
    features = found.linear_features({next(iter(found.members)): Column.concatenate(held)}, every)
    if isinstance(features, np.ndarray):
        features = features - features[every.numpy()].mean(0)
        features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    return [features[place * rows : (place + 1) * rows] for place in range(len(held))]


def _parts(column: Source) -> Iterator[Signal]:
    for part in torch.arange(len(column)).split(256):
        yield column.gather(part)


def _evidence(dataset: Dataset, features: Mapping[str, Any], console: Console) -> dict[str, Evidence]:
    """Of each input its features, its frames where it is sound, and its cells where they are texts: those of the table, or,
    where that cannot be read any more, those that were kept, perhaps in lower case and cut."""
    texts = [name for name in features if hasattr(dataset.input(name).first, "texts") and not dataset.input(name).joined]
    rows, found = range(len(dataset.rows)), {}
    columns = {name: next(iter(dataset.input(name).members)) for name in texts}
    cells, why = raw_cells(dataset, rows, list(columns.values())) if texts else ({}, [])
    if cells is None:
        console.note(f"baselines: texts as preprocess kept them, since the table cannot be read: {why[0]}")
    for name, block in features.items():
        own, source = dataset.input(name), dataset.column(name)
        spoken = source if own.spec.kind == "spectrogram" else None
        text: list[str | None] | None = None
        if name in texts and cells is not None and columns[name] in cells:
            text = [cells[columns[name]].get(row) for row in rows]
        elif name in texts and isinstance(source, Column):
            text = own.first.texts(source)  # type: ignore[attr-defined]
        found[name] = Evidence(block, text, spoken)
    return found


def _scaled(block: Any, train: Any) -> Any:
    """Rows of about unit length, so that no column outweighs another by the number of its features."""
    if not isinstance(block, np.ndarray):
        return block  # TF-IDF rows have unit length
    mean, deviation = block[train].mean(0), block[train].std(0)
    return (block - mean) / (np.maximum(deviation, 1e-6) * np.sqrt(block.shape[1]))


def _beside(blocks: list[Any]) -> Any:
    from scipy.sparse import csr_matrix, hstack

    if all(isinstance(block, np.ndarray) for block in blocks):
        return np.hstack(blocks)
    return hstack([csr_matrix(block) for block in blocks]).tocsr()
