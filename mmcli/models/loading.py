"""Encoders, fusions and whole models put together from their artifacts, and which of them is best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.errors import ArtifactError
from mmcli.models.networks import ColumnModel, FusedModel
from mmcli.models.recipe import Recipe, build_answer, build_encoder, fit_shapes
from mmcli.options import made
from mmcli.tasks import Task

WEIGHTS = "weights.safetensors"
EMBEDDINGS = "embeddings.safetensors"
TOKENS = "tokens.safetensors"
"""The tokens of all rows, where each is kept: beside the other embeddings, since they may be too large for memory."""
OUTPUTS = "outputs.safetensors"


def load_encoder(dataset: Dataset, artifact: Artifact) -> ColumnModel:
    """The column's encoder and head, with their trained weights."""
    config = artifact.config
    encoder = build_encoder(config["architecture"], config["encoder"], dataset.input(config["column"]).spec)
    model = ColumnModel(encoder, build_answer(config["head"], dataset.task, encoder.dim))
    _load_weights(model, artifact)
    return model.eval()


def load_fused(dataset: Dataset, artifact: Artifact) -> FusedModel:
    """A fused or optimised model, with its trained weights; encoders that it has not trained come from their own artifacts."""
    recipe = Recipe.of(artifact)
    network = recipe.build(dataset)
    if artifact.config["trained_encoders"]:
        if recipe.slim:
            fit_shapes(network, tensors.load(artifact.file(WEIGHTS)))
        _load_weights(network, artifact)
        return network.eval()
    for place, (name, own) in enumerate(encoders_of(artifact).items()):
        weights = tensors.load(own.file(WEIGHTS))
        network.encoder(name).load_state_dict(_under("encoder.", weights))
        if network.heads:
            network.heads[place].load_state_dict(_under("head.", weights))
    _load_weights(network.fusion_head, artifact)
    return network.eval()


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _load_weights(module: nn.Module, artifact: Artifact) -> None:
    try:
        module.load_state_dict(tensors.load(artifact.file(WEIGHTS)))
    except RuntimeError as error:
        raise ArtifactError(
            f"{artifact.path / WEIGHTS} does not fit the model that its manifest describes: {str(error).splitlines()[0]}",
            f'Make it again: "{artifact.manifest["command"]} --force".',
        ) from None


def read_encoder(root: Path, column: str, architecture: str) -> Artifact:
    """The artifact of one encoder."""
    name = layout.encoder(column, architecture)
    return store.read(root, name, "encoder", f"mmcli train-encoder {column} --arch {architecture}")


def encoders_of(fused: Artifact) -> dict[str, Artifact]:
    """The encoders that a fused model was made from, by their name in it."""
    chosen = fused.config["encoders"]
    return {name: read_encoder(fused.root, choice["input"], choice["architecture"]) for name, choice in chosen.items()}


def inputs_of(fused: Artifact) -> list[str]:
    """The inputs that a fused or optimised model reads, in order."""
    return list(dict.fromkeys(str(choice["input"]) for choice in fused.config["encoders"].values()))


def best_by_input(encoders: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """Of a fused model's encoders, the best on val of each input."""
    best: dict[str, Artifact] = {}
    for artifact in encoders.values():
        name = artifact.config["column"]
        best[name] = max(best.get(name, artifact), artifact, key=rank)
    return best


def fresh_encoders(root: Path, column: str) -> list[Artifact]:
    """Complete and fresh encoders of a column, best on val first."""
    found = []
    for name, architecture in layout.encoders(root):
        if name == column and store.exists(root, layout.encoder(name, architecture)):
            artifact = read_encoder(root, name, architecture)
            if store.stale_parent(artifact) is None:
                found.append(artifact)
    return sorted(found, key=rank, reverse=True)


def fresh_fusions(root: Path) -> list[Artifact]:
    """Complete and fresh fusions, best on val first."""
    found = []
    for method in layout.fusions(root):
        name = layout.fusion(method)
        if store.exists(root, name):
            artifact = store.read(root, name, "fusion", f"mmcli fuse --method {method}")
            if store.stale_parent(artifact) is None:
                found.append(artifact)
    return sorted(found, key=rank, reverse=True)


def rank(artifact: Artifact) -> tuple[float, float]:
    """Sorts models by val: the primary metric, then the loss; higher is better."""
    metrics = artifact.metrics
    sign = 1.0 if metrics["higher_is_better"] else -1.0
    return sign * metrics["val"][metrics["primary_metric"]], -metrics["val"]["loss"]


def best(root: Path) -> Artifact:
    """The best model so far by val: the optimised one or a fusion.

    Raises:
        ArtifactError: there is none that is complete and fresh; says what to run.
    """
    candidates = fresh_fusions(root)
    if store.exists(root, layout.OPTIMIZED):
        optimized = store.read(root, layout.OPTIMIZED, "optimized", "mmcli optimize")
        if store.stale_parent(optimized) is None:
            # It was held against its own base when it was made; against another fusion it must show itself.
            if not candidates or optimized.config["base"] == candidates[0].name:
                return optimized
            candidates.append(optimized)
    if candidates:
        return max(candidates, key=rank)
    stale = next((m for m in layout.fusions(root) if store.exists(root, layout.fusion(m))), None)
    if stale:
        store.require_fresh(store.read(root, layout.fusion(stale), "fusion", "mmcli fuse"))
    made.require_fused(root)
    raise ArtifactError(f"no fused model in {root} is complete", 'Run "mmcli fuse" again: it goes on where it was stopped.')


def outputs(artifact: Artifact, task: Task, file: str = OUTPUTS) -> Any:
    """What a model answered for every row, from its artifact."""
    return task.outputs.load(tensors.load(artifact.file(file)))


def parameters_by_part(model: FusedModel) -> dict[str, int]:
    """How many parameters each encoder and the fusion hold."""
    counts: Counter[str] = Counter()
    for name in model.names:
        counts[name] = sum(p.numel() for p in model.encoder(name).parameters())
    counts["fusion"] = sum(p.numel() for p in model.fusion_head.parameters())
    return dict(counts)
