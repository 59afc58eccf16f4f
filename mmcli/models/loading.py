"""Encoders, fusions and whole models put together from their artifacts, and which of them is best."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.errors import ArtifactError
from mmcli.layers.starting import shapes_alone, unfilled
from mmcli.models.columns import ColumnModel
from mmcli.models.networks import FusedModel
from mmcli.models.recipe import Recipe, build_answer, build_encoder, is_solved
from mmcli.options import made
from mmcli.pretrained import licences
from mmcli.tasks import Task

WEIGHTS = "weights.safetensors"
EMBEDDINGS = "embeddings.safetensors"
TOKENS = "tokens.safetensors"
"""The tokens of all rows, where each is kept: beside the other embeddings, since they may be too large for memory."""
OUTPUTS = "outputs.safetensors"
SOLVED = "solved."
"""How the weights of solved models' terms begin, which stand with those of F and its head."""
MOST_FUSED, MOST_COMPARED = 3, 5
"""Encoders of an input that are fused; where columns are compared."""


WHOLE = {
    layout.OPTIMIZED: "mmcli optimize",
    layout.FOLDED: "mmcli run TABLE --folds 5",
    layout.REFIT: "mmcli run TABLE --folds 5 --refit",
}
"""Models beside the fusions, which hold all their weights, and what makes them."""


def load_encoder(dataset: Dataset, artifact: Artifact) -> ColumnModel:
    """The column's encoder and head, with their trained weights.

    Raises:
        ArtifactError: what the artifact says makes no model, or its weights are those of another.
    """
    config = artifact.config
    weights = _of_reader(tensors.of(artifact, WEIGHTS), artifact)
    spec, task = dataset.input(config["column"]).spec, dataset.task

    def build() -> ColumnModel:
        encoder = build_encoder(config["architecture"], config["encoder"], spec)
        return ColumnModel(encoder, build_answer(config["head"], task, encoder.dim))

    with artifact.understood():
        weights = fits(build, weights)
        with unfilled():
            model = build()
        model.load_state_dict(weights)
        return model.eval()


def load_encoders(dataset: Dataset, artifacts: Mapping[str, Artifact]) -> dict[str, ColumnModel]:
    """The same of several; inputs that share an encoder have the same module."""
    made, known = {}, dict[str, ColumnModel]()
    for name, artifact in artifacts.items():
        made[name] = load_encoder(dataset, artifact)
        made[name].encoder = known.setdefault(artifact.name, made[name]).encoder
    return made


def _of_reader(weights: Mapping[str, Tensor], artifact: Artifact) -> dict[str, Tensor]:
    """Of the weights of an encoder's artifact the encoder's and those of the head of the input that reads it: a shared one
    holds a head for each reader, the owner's as `head.`, the others' as `heads.1.` and so on."""
    readers = artifact.config.get("readers", [])
    if not readers:
        return dict(weights)
    place = readers.index(artifact.config["column"])
    head = f"heads.{place}." if place else "head."
    others = ("pair.", "heads.", *(["head."] if place else []))
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith(others)}
    return kept | {f"head.{name}": tensor for name, tensor in _under(head, weights).items()}


def load_fused(dataset: Dataset, artifact: Artifact) -> FusedModel:
    """A fused or optimised model, with its trained weights; encoders that it has not trained come from their own artifacts.

    Raises:
        ArtifactError: what the artifact says makes no model, or its weights are those of another.
    """
    with artifact.understood(), shapes_alone():
        recipe = Recipe.of(artifact)
        whole = recipe.build(dataset)
        places, decides = whole.places, bool(whole.heads)
    weights = tensors.of(artifact, WEIGHTS)
    if artifact.config["trained_encoders"]:
        with artifact.understood():
            return built(recipe, dataset, weights)
    every = {f"fusion_head.{name}": tensor for name, tensor in weights.items() if not name.startswith(SOLVED)}
    for name, choice in recipe.encoders.items():
        if is_solved(choice):
            own_weights = _under(solved_under(name), weights)
            every |= {f"encoders.{places[name]}.{key}": tensor for key, tensor in own_weights.items()}
    for place, (name, own) in enumerate(encoders_of(artifact).items()):
        found = _of_reader(tensors.of(own, WEIGHTS), own)
        every |= {f"encoders.{places[name]}.{key}": tensor for key, tensor in _under("encoder.", found).items()}
        own_head = {f"heads.{place}.{key}": tensor for key, tensor in _under("head.", found).items()}
        every |= own_head if decides else {}
    with artifact.understood():
        return built(recipe, dataset, every)


def solved_under(name: str) -> str:
    """How the weights of that term begin."""
    return f"{SOLVED}{name}."


def built(recipe: Recipe, dataset: Dataset, weights: Mapping[str, Tensor]) -> FusedModel:
    """The model of a recipe with those weights, ready to predict; nothing large is made before they are seen to fit.

    Raises:
        ConfigError, ValueError, RuntimeError: it is no model, or the weights are those of another.
    """
    weights = fits(lambda: recipe.build(dataset), weights, slim=recipe.slim)
    with unfilled():
        return recipe.build(dataset, weights)


MUCH = 100
"""How many times as large as its weights a network may be before it is narrowed."""


def fits(build: Callable[[], nn.Module], weights: Mapping[str, Tensor], slim: bool = False) -> dict[str, Tensor]:
    """Looks at the shapes alone of what is to be built; gives the weights, those of older networks as they are now.

    Raises:
        ValueError: the weights are not those of such a network.
    """
    with shapes_alone():
        empty = build().state_dict()
    wanted = {name: tensor.shape for name, tensor in empty.items()}
    weights = _upgraded(weights, wanted)
    if missing := sorted(set(wanted) ^ set(weights)):
        raise ValueError(f"{missing[0]} is in the weights or in the network, not in both")
    for name, shape in wanted.items():
        if shape != weights[name].shape and not (slim and len(shape) == weights[name].dim()):
            raise ValueError(f"{name} has the shape {list(weights[name].shape)}, the network wants {list(shape)}")
        if empty[name].is_floating_point() != weights[name].is_floating_point():
            raise ValueError(f"{name} holds {weights[name].dtype}, the network wants {empty[name].dtype}")
    size = sum(math.prod(shape) for shape in wanted.values())
    if size > MUCH * (sum(tensor.numel() for tensor in weights.values()) + 1_000_000):
        raise ValueError(f"the network has {size:,} numbers, the weights far fewer")
    return dict(weights)


def _upgraded(weights: Mapping[str, Tensor], wanted: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """With zeros for what networks of before did not have, and zeros say that it is not there: how strange words are shunned in
    a search of CTC, the directions that `compare` tells pairs apart by."""
    made = dict(weights)
    for name, shape in wanted.items():
        before, _, own = name.rpartition(".")
        place = before and f"{before}."
        comparing = f"{place}axes0" in wanted and f"{place}axes0" not in weights
        if comparing and own.rstrip("0123456789") in {"axes", "centre"}:
            made[name] = torch.zeros(shape)
        elif name in weights and (own == "search" or (comparing and own in {"weights", "means"})):
            found = weights[name]
            if found.dim() == len(shape) == 1 and len(found) < shape[0]:
                made[name] = nn.functional.pad(found, (0, shape[0] - len(found)))
    return made


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def read_encoder(root: Path, column: str, architecture: str, owner: str | None = None) -> Artifact:
    """The artifact of one encoder, as an input reads it: its own, or that of the `owner` that it shares one with, which the
    preprocessed table tells where it is not given."""
    owner = owner_of(root, column) if owner is None else owner
    name = layout.encoder(owner, architecture)
    return as_read_by(
        store.read(root, name, "encoder", f"mmcli train-encoder {shlex.quote(owner)} --arch {shlex.quote(architecture)}"),
        column,
    )


def owner_of(root: Path, column: str) -> str:
    """The input whose encoder an input reads, as the preprocessed table tells; itself where there is none."""
    if not store.exists(root, layout.PREPROCESS):
        return column
    table = store.read(root, layout.PREPROCESS, "preprocess", "mmcli preprocess TABLE")
    return str(table.config["schema"].get("shares", {}).get(column, column))


def as_read_by(artifact: Artifact, reader: str) -> Artifact:
    """The artifact of a shared encoder as one of its readers sees it: its `column`, and that input's own metrics. Its files
    are the same, and are checked as ever."""
    config, metrics = artifact.config, artifact.metrics
    if reader not in config.get("readers", []):
        return artifact
    owner = {} if reader == config["readers"][0] else {"owner": config["readers"][0]}
    own = {"config": {**config, **owner, "column": reader}, "metrics": {**metrics, **metrics["readers"][reader]}}
    return replace(artifact, manifest={**artifact.manifest, **own})


def kept_file(artifact: Artifact, file: str) -> str:
    """Which of an encoder's files holds what `EMBEDDINGS` or `TOKENS` are of the input that reads it."""
    return file if "owner" not in artifact.config else reader_file(file, artifact.config["column"])


def reader_file(file: str, reader: str) -> str:
    """What such a file is called that is of an input which shares another's encoder."""
    stem, _, ending = file.rpartition(".")
    return f"{stem}.{layout.safe(reader)}.{ending}"


def encoders_of(fused: Artifact) -> dict[str, Artifact]:
    """The encoders that a fused model was made from, by their name in it, but for terms of solved models, which were made
    for it alone; those of folds from the folds' roots."""
    return {
        name: read_encoder(
            layout.fold(fused.root, own.get("fold", 1)), own["input"], own["architecture"], own.get("owner", own["input"])
        )
        for name, own in fused.config["encoders"].items()
        if not is_solved(own)
    }


def weights_of_others(best: Artifact, dataset: Dataset) -> list[dict[str, str]]:
    """Name and licence of what others have trained, each once: of what finds faces, of encoders, of members beside F."""
    told = [entry for own in (dataset.artifact, *encoders_of(best).values()) for entry in own.metrics.get(licences.OTHERS, [])]
    told += [choice["origin"] for choice in Recipe.of(best).encoders.values() if "origin" in choice]
    return [dict(own) for own in dict.fromkeys(tuple(entry.items()) for entry in told)]


def inputs_of(fused: Artifact) -> list[str]:
    """The inputs that a fused or optimised model reads, in order."""
    return list(dict.fromkeys(str(choice["input"]) for choice in fused.config["encoders"].values()))


def best_by_input(encoders: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """Of a fused model's encoders, the best on val of each input by itself."""
    best: dict[str, Artifact] = {}
    for artifact in encoders.values():
        name = artifact.config["column"]
        best[name] = max(best.get(name, artifact), artifact, key=lambda own: _rank(own.metrics, alone(own)))
    return best


def alone(encoder: Artifact) -> dict[str, float]:
    """The scores on val of an input by itself: not those of the columns together that share its encoder, by which that is
    chosen where columns are compared."""
    metrics = encoder.metrics
    return dict(metrics.get("alone") or metrics["val"])


def fresh_encoders(root: Path, column: str) -> list[Artifact]:
    """Complete and fresh encoders of a column, its own or those that it shares, best on val first."""
    found, owner = [], owner_of(root, column)
    for name in layout.encoders_of(root, owner):
        if store.exists(root, name):
            artifact = store.read(root, name, "encoder", f"mmcli train-encoder {shlex.quote(owner)}")
            if artifact.config["column"] == owner and store.stale_parent(artifact) is None:
                artifact = as_read_by(artifact, column)
                found.append(artifact)
    return sorted(found, key=rank, reverse=True)


def most_fused(task: Task) -> int:
    """How many encoders of an input are fused, the best on val, where more are trained: more of columns that are compared,
    since each measure of how alike they are costs little."""
    return MOST_COMPARED if task.compares_columns else MOST_FUSED


def fresh_fusions(root: Path) -> list[Artifact]:
    """Complete and fresh fusions, best on val first."""
    found = []
    for method, name in zip(layout.fusions(root), layout.fusion_names(root), strict=True):
        if store.exists(root, name):
            artifact = store.read(root, name, "fusion", f"mmcli fuse --method {method}")
            if store.stale_parent(artifact) is None:
                found.append(artifact)
    return sorted(found, key=rank, reverse=True)


def fresh_folded(root: Path) -> Artifact | None:
    """The average of folds, if it is complete and fresh, whether or not it is the better model."""
    if not store.exists(root, layout.FOLDED):
        return None
    artifact = store.read(root, layout.FOLDED, "folded", WHOLE[layout.FOLDED])
    return artifact if store.stale_parent(artifact) is None else None


def fresh_refit(root: Path) -> Artifact | None:
    """The one pipeline of all labelled rows, if it is complete and fresh."""
    if not store.exists(root, layout.REFIT):
        return None
    artifact = store.read(root, layout.REFIT, "refit", WHOLE[layout.REFIT])
    return artifact if store.stale_parent(artifact) is None else None


def fresh_models(root: Path) -> list[Artifact]:
    """What `optimize` and `evaluate` may begin with, the best first: the average of folds, where there is one and its own folds
    do not speak against it (see `mmcli.models.folds.gone_wrong`), then the fusions."""
    folded = fresh_folded(root)
    return [*([folded] if folded is not None and folded.metrics["chosen"] else []), *fresh_fusions(root)]


def rank(artifact: Artifact) -> tuple[float, float]:
    """Sorts models by val: the primary metric, then the loss; higher is better."""
    return _rank(artifact.metrics, artifact.metrics["val"])


def _rank(metrics: Mapping[str, Any], scores: Mapping[str, float]) -> tuple[float, float]:
    sign = 1.0 if metrics["higher_is_better"] else -1.0
    return sign * scores[metrics["primary_metric"]], -scores["loss"]


def best(root: Path) -> Artifact:
    """The best model so far by val: the optimised one, the average of folds, or a fusion.

    Raises:
        ArtifactError: there is none that is complete and fresh; says what to run.
    """
    candidates = fresh_models(root)
    if store.exists(root, layout.OPTIMIZED):
        optimized = store.read(root, layout.OPTIMIZED, "optimized", "mmcli optimize")
        if store.stale_parent(optimized) is None:
            # It was held against its own base when it was made; against another fusion it must show itself.
            if not candidates or optimized.config["base"] == candidates[0].name:
                return optimized
            candidates.append(optimized)
    if candidates and candidates[0].name == layout.FOLDED:
        return candidates[0]  # chosen by all labelled rows, of which val is a part
    if candidates:
        return max(candidates, key=rank)
    stale = next((m for m in layout.fusions(root) if store.exists(root, layout.fusion(m))), None)
    if stale:
        store.require_fresh(store.read(root, layout.fusion(stale), "fusion", "mmcli fuse"))
    made.require_fused(root)
    raise ArtifactError(f"no fused model in {root} is complete", 'Run "mmcli fuse" again: it goes on where it was stopped.')


def outputs(artifact: Artifact, dataset: Dataset, file: str = OUTPUTS) -> Any:
    """What a model answered for every row, from its artifact.

    Raises:
        ArtifactError: it is not of as many rows, or not of such answers.
    """
    task = dataset.task
    named = tensors.of(artifact, file)
    with artifact.understood(file):
        return answers(task.outputs.load(named), dataset)


def answers(found: Any, dataset: Dataset) -> Any:
    """The outputs; ValueError where they are not of each row of the table, or not such as the task has."""
    if len(found) != len(dataset.rows):
        raise ValueError(f"it has answers for {len(found)} rows, the table has {len(dataset.rows)}")
    if isinstance(found, Tensor) and (found.dim() != 2 or not found.is_floating_point()):
        raise ValueError(f"its answers are {found.dtype} of shape {list(found.shape)}")
    if isinstance(found, Tensor) and dataset.task.outputs.decides and found.shape[1] != dataset.task.num_outputs:
        raise ValueError(f"it has {found.shape[1]} outputs, the task {dataset.task.num_outputs}")
    return found


def parameters_by_part(model: FusedModel) -> dict[str, int]:
    """How many parameters each encoder and the fusion hold."""
    counts: Counter[str] = Counter()
    for name in model.names:
        counts[name] = sum(p.numel() for p in model.encoder(name).parameters())
    counts["fusion"] = sum(p.numel() for p in model.fusion_head.parameters())
    return dict(counts)
