"""Forward passes of a whole model over columns: outputs, weights, fused features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmcli.data.dataset import Dataset
from mmcli.layers.pairs import cosines
from mmcli.models.networks import FusedModel
from mmcli.signals import Column, Source
from mmcli.training import device


def forward_columns(network: FusedModel, columns: Mapping[str, Source], compute: device.Compute, batch_size: int = 256) -> Any:
    """Outputs for normalised columns, on the host."""
    return forward_explained(network, columns, compute, batch_size)[0]


def forward_explained(
    network: FusedModel, columns: Mapping[str, Source], compute: device.Compute, batch_size: int = 256
) -> tuple[Any, Tensor | None]:
    """Outputs, and of methods that have them the encoders' weights [N, M], in the order of the network's encoders."""
    return forward_whole(network, columns, compute, batch_size)[:2]


@torch.no_grad()
def forward_whole(
    network: FusedModel, columns: Mapping[str, Source], compute: device.Compute, batch_size: int = 256
) -> tuple[Any, Tensor | None, Tensor]:
    """Outputs, weights where there are any, and the fused features [N, H]."""
    network.eval()
    prepared = {name: column.to(compute.device) for name, column in network.prepare(columns).items()}
    rows, kind, host = len(next(iter(prepared.values()))), network.task.outputs, torch.device("cpu")
    parts, weights, pooled = [], [], []
    with compute.autocast():
        for index in torch.arange(rows).split(batch_size):
            output = network({name: column.gather(index) for name, column in prepared.items()})
            parts.append(kind.to(kind.plain(output.outputs), host))
            pooled.append(output.fused.pooled.float().cpu())
            if output.fused.weights is not None:
                weights.append(output.fused.weights.float().cpu())
    return kind.join(parts), torch.cat(weights) if weights else None, torch.cat(pooled)


@torch.no_grad()
def likeness(network: FusedModel, columns: Mapping[str, Source], compute: device.Compute, batch_size: int = 256) -> Tensor:
    """[N]: the cosine of the features of columns that share an encoder, its mean over the encoders that are shared."""
    network.eval()
    shared = [[name for name in network.names if network.places[name] == place] for place in range(len(network.encoders))]
    prepared = {name: column.to(compute.device) for name, column in network.prepare(columns).items()}
    rows, parts = len(next(iter(prepared.values()))), []
    with compute.autocast():
        for index in torch.arange(rows).split(batch_size):
            features = network.features({name: column.gather(index) for name, column in prepared.items()})
            alike = [cosines([features[name] for name in names])[0] for names in shared if len(names) > 1]
            parts.append(torch.stack(alike).mean(0).cpu())
    return torch.cat(parts)


def outputs_for(
    network: FusedModel, dataset: Dataset, index: Tensor, compute: device.Compute, absent: Sequence[str] = ()
) -> Any:
    """Outputs for some rows of a preprocessed table, with what `absent` names taken away: inputs, or columns joined in one."""
    columns: dict[str, Source] = {}
    for name in network.inputs:
        found, column = dataset.input(name), dataset.column(name).select(index)
        for member in absent if found.joined else ():
            assert isinstance(column, Column)
            column = found.without(column, member) if member in found.members else column
        columns[name] = column.emptied() if name in absent else column
    return forward_columns(network, columns, compute)
