"""The whole: encoders, fusion and head, put together from artifacts; and predicting with them.

`load("artifacts")` gives the best model that there is; `.predict(table)` works on a path or a DataFrame.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from mmcli import conformal, registry, running
from mmcli.artifacts import layout, store, tensors
from mmcli.artifacts.store import Artifact
from mmcli.dataset import Dataset
from mmcli.errors import ArtifactError, ConfigError
from mmcli.networks import ColumnModel, FusedModel
from mmcli.recipe import Recipe, averaged, build_encoder, build_fusion, build_head, fit_shapes
from mmcli.sharding import resolved
from mmcli.signals import Column, Source
from mmcli.tables.reading import open_table
from mmcli.training import device

WEIGHTS = "weights.safetensors"
EMBEDDINGS = "embeddings.safetensors"
OUTPUTS = "outputs.safetensors"


def load_encoder(dataset: Dataset, artifact: Artifact) -> ColumnModel:
    """The column's encoder and head, with their trained weights."""
    config = artifact.config
    encoder = build_encoder(config["architecture"], config["encoder"], dataset.input(config["column"]).spec)
    model = ColumnModel(encoder, dataset.task.head(encoder.dim))
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
    raise ArtifactError(
        f"there is no fused model in {root}", 'Run "mmcli fuse" first, or name another folder with --artifacts.'
    )


def forward_columns(
    network: FusedModel, columns: Mapping[str, Source], compute: device.Compute, batch_size: int = 256
) -> Tensor:
    """Outputs float32 [N, num_outputs] for normalised columns, on the host."""
    return forward_explained(network, columns, compute, batch_size)[0]


def forward_explained(
    network: FusedModel, columns: Mapping[str, Source], compute: device.Compute, batch_size: int = 256
) -> tuple[Tensor, Tensor | None]:
    """Outputs, and of methods that have them the encoders' weights [N, M], in the order of the network's encoders."""
    return forward_whole(network, columns, compute, batch_size)[:2]


@torch.no_grad()
def forward_whole(
    network: FusedModel, columns: Mapping[str, Source], compute: device.Compute, batch_size: int = 256
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Outputs, weights where there are any, and the fused features [N, H]."""
    network.eval()
    prepared = {name: column.to(compute.device) for name, column in network.prepare(columns).items()}
    rows = len(next(iter(prepared.values())))
    parts, weights, pooled = [], [], []
    with compute.autocast():
        for index in torch.arange(rows, device=compute.device).split(batch_size):
            output = network({name: column.gather(index) for name, column in prepared.items()})
            parts.append(output.outputs.float().cpu())
            pooled.append(output.fused.pooled.float().cpu())
            if output.fused.weights is not None:
                weights.append(output.fused.weights.float().cpu())
    return torch.cat(parts), torch.cat(weights) if weights else None, torch.cat(pooled)


def outputs_for(
    network: FusedModel, dataset: Dataset, index: Tensor, compute: device.Compute, absent: Sequence[str] = ()
) -> Tensor:
    """Outputs for some rows of a preprocessed table, with what `absent` names taken away: inputs, or columns joined in one."""
    columns: dict[str, Source] = {}
    for name in network.inputs:
        found, column = dataset.input(name), dataset.column(name).select(index)
        for member in absent if found.joined else ():
            assert isinstance(column, Column)
            column = found.without(column, member) if member in found.members else column
        columns[name] = column.emptied() if name in absent else column
    return forward_columns(network, columns, compute)


@dataclass(frozen=True)
class Prediction:
    """Predictions for some rows."""

    frame: pd.DataFrame
    """The rows of the table as they came, with the prediction columns."""
    rejects: list[tuple[int, str, str, str]]
    """(row from 1, column, cell, reason) of every cell that could not be read and counted as absent."""
    remarks: dict[str, Counter[str]]
    """Of each column what was done to cells that could be read (cut, taken for an unknown name), and to how many."""


class Model:
    """A trained model that takes tables."""

    def __init__(self, dataset: Dataset, artifact: Artifact, compute: device.Compute) -> None:
        self.artifact = artifact
        self.task = dataset.task
        self.target = dataset.target
        self.compute = compute
        self.network = load_fused(dataset, artifact).to(compute.device)
        self.conformal: dict[str, Any] = artifact.metrics.get("conformal", {})
        """What makes prediction sets, where `optimize` left it."""
        way = artifact.config.get("way", running.TORCH)
        self._runner = None if way == running.TORCH else running.runner(way, self.network, compute, _run_file(artifact, way))
        self.inputs = {name: dataset.input(name) for name in self.network.inputs}

    @property
    def columns(self) -> list[str]:
        """The columns of a table that the model looks at."""
        return [column for found in self.inputs.values() for column in found.members]

    def absent_columns(self, columns: Sequence[str]) -> list[str]:
        """Those that a table with these columns lacks: they count as absent in every row."""
        return [column for column in self.columns if column not in columns]

    def predict(self, table: str | Path | pd.DataFrame, media_root: str | Path | None = None) -> pd.DataFrame:
        """The table with prediction and probability columns; rows and their order are kept.

        Media paths resolve against `media_root`, by default the table's folder (for a DataFrame, the working directory).
        """
        if isinstance(table, pd.DataFrame):
            frame = table.astype(object).where(table.notna(), None).reset_index(drop=True)
            root = str(media_root or ".")
            return pd.concat([p.frame for p in self.predict_chunks(iter([frame]), root)], ignore_index=True)
        opened = open_table(Path(table))
        root = str(media_root or opened.path.parent)
        parts = [p.frame for p in self.predict_chunks(opened.chunks(), root)]
        return pd.concat(parts, ignore_index=True)

    @property
    def has_weights(self) -> bool:
        """Whether its fusion says how much of each column entered."""
        columns = {name: own.emptied() for name, own in self._columns(pd.DataFrame(index=[0]), ".")[0].items()}
        return forward_explained(self.network, columns, self.compute)[1] is not None

    def predict_chunks(
        self,
        chunks: Iterator[pd.DataFrame],
        media_root: str,
        explain: bool = False,
        sets: bool = False,
        embeddings: bool = False,
    ) -> Iterator[Prediction]:
        """Predictions for consecutive parts of a table, in bounded memory; beside them, where asked for, the columns' weights,
        prediction sets (classes, or the ends of an interval), and the fused features as lists of numbers."""
        for chunk in chunks:
            columns, rejects, remarks = self._columns(chunk, media_root)
            outputs, weights, features = self._forward(columns, whole=explain or embeddings)
            decoded = {self.target + "_predicted" + name: cells for name, cells in self.task.decode(outputs).items()}
            if sets and self.conformal:
                found = conformal.columns(self.task, self.conformal, outputs)
                decoded |= {f"{self.target}_predicted{name}": cells for name, cells in found.items()}
            if embeddings and features is not None:
                decoded[f"{self.target}_embedding"] = [json.dumps([round(v, 6) for v in row]) for row in features.tolist()]
            if explain and weights is not None:
                for name, own in zip(self.network.names, weights.T, strict=True):
                    decoded[f"{self.target}_weight_{name}"] = [round(value, 6) for value in own.tolist()]
            yield Prediction(chunk.assign(**{k: pd.array(v, dtype=None) for k, v in decoded.items()}), rejects, remarks)

    def _forward(self, columns: Mapping[str, Source], whole: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Outputs; and, where the whole is wanted, the columns' weights, if there are any, and the fused features."""
        if whole:
            return forward_whole(self.network, columns, self.compute)
        if self._runner is not None:
            return self._runner.outputs(columns, self.compute.device), None, None
        return forward_columns(self.network, columns, self.compute), None, None

    def _columns(
        self, chunk: pd.DataFrame, media_root: str
    ) -> tuple[dict[str, Column], list[tuple[int, str, str, str]], dict[str, Counter[str]]]:
        columns, rejects, remarks = {}, [], {}
        for name, found in self.inputs.items():
            stored = {}
            for column, modality in found.members.items():
                cells = _text_cells(chunk, column)
                encoded = modality.transform(resolved(cells, media_root, modality))
                stored[column] = encoded.column
                remarks[column] = encoded.remarks
                for reject in encoded.rejects:
                    row = int(chunk.index[reject.position]) + 1
                    rejects.append((row, column, str(cells[reject.position]), reject.reason))
            columns[name] = found.join(stored)
        return columns, rejects, remarks


def _text_cells(chunk: pd.DataFrame, column: str) -> list[str | None]:
    if column not in chunk.columns:
        return [None] * len(chunk)
    return [None if cell is None or not str(cell).strip() else str(cell) for cell in chunk[column]]


def _run_file(artifact: Artifact, way: str) -> Path | None:
    return artifact.file(running.FILES[way]) if way in running.FILES else None


def load(
    path: str | Path = "artifacts",
    device_name: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    trust: Sequence[str | Path] = (),
) -> Model:
    """The model at `path`: an artifacts root (then the best model in it), a fusion's folder, or `optimized`.

    `trust` names files with parts of your own; nothing in a file that only the artifact names is run.

    Raises:
        ArtifactError: there is none, or it is stale or damaged; says what to run.
    """
    for file in trust:
        registry.trust(str(file))
    folder = Path(path)
    manifest = folder / store.MANIFEST
    if not manifest.is_file():
        return _model(folder, best(folder), device_name, precision, threads)
    kind = json.loads(manifest.read_text(encoding="utf-8"))["kind"]
    if kind not in {"fusion", "optimized"}:
        raise ConfigError(f"{folder} holds a {kind}, not a fused model", "Give the artifacts root, a fusion or `optimized`.")
    root = folder.parent.parent if kind == "fusion" else folder.parent
    name = folder.resolve().relative_to(root.resolve()).as_posix()
    artifact = store.require_fresh(store.read(root, name, kind, "mmcli fuse"))
    return _model(root, artifact, device_name, precision, threads)


def _model(root: Path, artifact: Artifact, device_name: str, precision: str, threads: int) -> Model:
    return Model(Dataset.open(root), artifact, device.choose(device_name, precision, threads))


def parameters_by_part(model: FusedModel) -> dict[str, int]:
    """How many parameters each encoder and the fusion hold."""
    counts: Counter[str] = Counter()
    for name in model.names:
        counts[name] = sum(p.numel() for p in model.encoder(name).parameters())
    counts["fusion"] = sum(p.numel() for p in model.fusion_head.parameters())
    return dict(counts)


__all__ = ["FusedModel", "Model", "averaged", "build_encoder", "build_fusion", "build_head", "load"]
