"""Encoders, fusions and whole models put together from their artifacts, and which of them is best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact
from mmcli.data.dataset import Dataset
from mmcli.errors import ArtifactError
from mmcli.models.networks import ColumnModel, FusedModel
from mmcli.models.recipe import Recipe, build_answer, build_encoder, fit_shapes
from mmcli.tasks import Task

WEIGHTS = "weights.safetensors"
EMBEDDINGS = "embeddings.safetensors"
OUTPUTS = "outputs.safetensors"


def load_encoder(dataset: Dataset, artifact: Artifact) -> ColumnModel:
    """The column's encoder and head, with their trained weights."""
    config = artifact.config
    encoder = build_encoder(config["architecture"], config["encoder"], dataset.input(config["column"]).spec)
    model = ColumnModel(encoder, build_answer(config["head"], dataset.task, encoder.dim))
    _load_weights(model, artifact, _of_reader(tensors.load(artifact.file(WEIGHTS)), artifact))
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
    place = readers.index(artifact.config["column"]) if readers else 0
    head = f"heads.{place}." if place else "head."
    encoder = {name: tensor for name, tensor in weights.items() if name.startswith("encoder.")}
    return encoder | {f"head.{name}": tensor for name, tensor in _under(head, weights).items()}


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
        weights = _of_reader(tensors.load(own.file(WEIGHTS)), own)
        network.encoder(name).load_state_dict(_under("encoder.", weights))
        if network.heads:
            network.heads[place].load_state_dict(_under("head.", weights))
    _load_weights(network.fusion_head, artifact)
    return network.eval()


def _under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _load_weights(module: nn.Module, artifact: Artifact, weights: Mapping[str, Tensor] | None = None) -> None:
    try:
        module.load_state_dict(dict(tensors.load(artifact.file(WEIGHTS)) if weights is None else weights))
    except RuntimeError as error:
        raise ArtifactError(
            f"{artifact.path / WEIGHTS} does not fit the model that its manifest describes: {str(error).splitlines()[0]}",
            f'Make it again: "{artifact.manifest["command"]} --force".',
        ) from None


def read_encoder(root: Path, column: str, architecture: str, owner: str | None = None) -> Artifact:
    """The artifact of one encoder, as an input reads it: its own, or that of the `owner` that it shares one with, which the
    preprocessed table tells where it is not given."""
    owner = owner_of(root, column) if owner is None else owner
    name = layout.encoder(owner, architecture)
    return as_read_by(store.read(root, name, "encoder", f"mmcli train-encoder {owner} --arch {architecture}"), column)


def owner_of(root: Path, column: str) -> str:
    """The input whose encoder an input reads, as the preprocessed table tells; itself where there is none."""
    if not store.exists(root, layout.PREPROCESS):
        return column
    table = store.read(root, layout.PREPROCESS, "preprocess", "mmcli preprocess TABLE")
    return str(table.config.get("schema", {}).get("shares", {}).get(column, column))


def as_read_by(artifact: Artifact, reader: str) -> Artifact:
    """The artifact of a shared encoder as one of its readers sees it: its `column`, and that input's own metrics."""
    config, metrics = artifact.config, artifact.metrics
    if reader not in config.get("readers", []):
        return artifact
    owner = {} if reader == config["readers"][0] else {"owner": config["readers"][0]}
    own = {"config": {**config, **owner, "column": reader}, "metrics": {**metrics, **metrics["readers"][reader]}}
    return replace(artifact, manifest={**artifact.manifest, **own})


def embeddings_file(artifact: Artifact) -> str:
    """Which of an encoder's files holds the embeddings of the input that reads it."""
    return EMBEDDINGS if "owner" not in artifact.config else reader_file(artifact.config["column"])


def reader_file(reader: str) -> str:
    """What the embeddings of an input are called that shares another's encoder."""
    return f"embeddings.{layout.safe(reader)}.safetensors"


def encoders_of(fused: Artifact) -> dict[str, Artifact]:
    """The encoders that a fused model was made from, by their name in it."""
    return {
        name: read_encoder(fused.root, own["input"], own["architecture"], own.get("owner", own["input"]))
        for name, own in fused.config["encoders"].items()
    }


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
    """Complete and fresh encoders of a column, its own or those that it shares, best on val first."""
    found, owner = [], owner_of(root, column)
    for name, architecture in layout.encoders(root):
        if name == owner and store.exists(root, layout.encoder(name, architecture)):
            artifact = read_encoder(root, column, architecture, owner)
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
    raise ArtifactError(
        f"there is no fused model in {root}", 'Run "mmcli fuse" first, or name another folder with --artifacts.'
    )


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
