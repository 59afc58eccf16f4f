"""Self-supervised warm starts: an encoder learns from rows without a target before it learns from those with one.

Pictures and clips: two strongly varied views of a row are to have like features, which vary between rows and do not repeat one
another (VICReg, Bardes, Ponce and LeCun 2022). Token ids: hidden tokens are to be told from those around them (Devlin et al.
2019). Sound has none: measured, it made encoders worse (docs/design.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.artifacts import tensors
from mmcli.artifacts.store import write_atomic
from mmcli.data.dataset import Dataset
from mmcli.encoders import Encoder
from mmcli.reporting.console import Console
from mmcli.reporting.metrics import Interval
from mmcli.signals import Batch, Signal, Source, sent
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows
from mmcli.training.device import Compute, seed_everything
from mmcli.training.job import Job, Step
from mmcli.training.loop import train
from mmcli.vectors.numbers import NUMBERS

WEIGHTS = "encoder.safetensors"
HIDDEN_SHARE = 0.15
VIEWED = frozenset(["grid", "clip"])


def unfit(encoder: Encoder, kind: str) -> str:
    """Why an encoder has no warm start; empty where it has one."""
    if not encoder.varies:
        return "what it reads is computed once"
    if kind == "ids" and encoder.preparation() is None:
        return "its tokens are its own"
    if kind in VIEWED or (kind == "ids" and encoder.keeps_order):
        return ""
    return "there is none for a bag of n-grams" if kind == "ids" else f"there is none for {kind}"


def warm(
    encoder: Encoder,
    column: str,
    prepared: Source,
    dataset: Dataset,
    training: TrainingConfig,
    compute: Compute,
    *,
    seed: int,
    folder: Path,
    console: Console,
    label: str,
) -> None:
    """Trains the encoder in place on the rows of train and those without a target; a second call reads what the first left."""
    if (folder / WEIGHTS).is_file():
        try:
            encoder.load_state_dict(tensors.unsealed(folder / WEIGHTS)[0])
            return
        except ValueError as error:
            console.warn(f"{label}: {folder / WEIGHTS} is damaged ({error}): it is thrown away, and the warm start begins anew")
            (folder / WEIGHTS).unlink()
    folder.mkdir(parents=True, exist_ok=True)
    seed_everything(seed)
    found = dataset.input(column)
    kind = found.spec.kind
    objective: nn.Module
    if kind == "ids":
        hide = next((i for i, piece in enumerate(found.spec.pieces) if i and not piece), 0)
        objective = MaskedTokens(encoder, found.spec.vocab_size, hide)
    else:
        objective = TwoViews(encoder, lambda signal: found.augment(signal, "strong"))
    unlabelled = torch.from_numpy((dataset.rows["split"] == "unlabelled").to_numpy(copy=True)).nonzero()[:, 0]
    own = {name: index[prepared.present[index]] for name, index in dataset.splits.items() if name != "test"}
    own["train"] = torch.cat([own["train"], unlabelled[prepared.present[unlabelled]]])
    objective.to(compute.device)
    bare = len(own["train"]) - int(prepared.present[dataset.splits["train"]].sum())
    console.note(
        f"{label}: warm start first, without targets: {len(own['train']):,} rows ({bare:,} of them have none), "
        f"{training.warm_epochs} epochs at most"
    )
    config = training.model_copy(update={"epochs": training.warm_epochs, "patience": training.warm_epochs, "augment": "none"})
    job = Job(
        step=_Step(objective, column),
        rows=Rows({column: prepared}, dataset.targets, own, {}).to(compute.device),
        task=_OwnLoss(),
        config=config,
        compute=compute,
        seed=seed,
        folder=folder,
        label=f"warm start of {column}",
        learning_rates={f"encoder.{name}": rate for name, rate in encoder.learning_rates().items()},
    )
    train(job, console)
    write_atomic(folder / WEIGHTS, tensors.sealed(encoder.state_dict(), {}))


class _Step(Step):
    """An objective that needs no target. It has nothing to answer but its loss."""

    def __init__(self, objective: nn.Module, column: str) -> None:
        super().__init__(objective)
        self.column = column

    def forward(self, batch: Batch) -> Tensor:
        result: Tensor = self.module(batch.inputs[self.column])
        return result

    def outputs(self, batch: Batch) -> Tensor:
        return self.forward(batch).expand(len(batch))


class TwoViews(nn.Module):
    """VICReg: 25 invariance + 25 variance + covariance, on a projection of the pooled features."""

    WIDTH = 256

    def __init__(self, encoder: Encoder, vary: Callable[[Signal], Signal]) -> None:
        super().__init__()
        self.encoder = encoder
        self.vary = vary
        self.project = nn.Sequential(
            nn.Linear(encoder.dim, self.WIDTH), nn.BatchNorm1d(self.WIDTH), nn.ReLU(), nn.Linear(self.WIDTH, self.WIDTH)
        )

    def forward(self, signal: Signal) -> Tensor:
        one, two = (self.project(self.encoder(self.vary(signal)).pooled).float() for _ in range(2))
        return vicreg(one, two)


def vicreg(one_BD: Tensor, two_BD: Tensor) -> Tensor:
    """The loss of two views (equations 1 to 6 of the paper), a scalar."""
    rows, width = one_BD.shape
    total = 25 * F.mse_loss(one_BD, two_BD)
    for view in (one_BD, two_BD):
        centred = view - view.mean(0)
        total = total + 25 * F.relu(1 - (centred.square().sum(0) / max(rows - 1, 1) + 1e-4).sqrt()).mean() / 2
        covariance = centred.T @ centred / max(rows - 1, 1)
        total = total + (covariance.square().sum() - covariance.diagonal().square().sum()) / width
    return total


class MaskedTokens(nn.Module):
    """Cross-entropy of the hidden tokens, from the encoder's features at their places."""

    def __init__(self, encoder: Encoder, vocabulary: int, hide: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.hide = hide
        self.guess = nn.Linear(encoder.dim, vocabulary)

    def forward(self, signal: Signal) -> Tensor:
        device = signal.values.device
        hidden = self._hidden(signal)
        rows, steps = (sent(own, device) for own in hidden.nonzero(as_tuple=True))
        tokens = self.encoder(replace(signal, values=torch.where(sent(hidden, device), self.hide, signal.values))).tokens
        return F.cross_entropy(self.guess(tokens[rows, steps]).float(), signal.values[rows, steps].long())

    def _hidden(self, signal: Signal) -> Tensor:
        """bool [B, T], on the host, where it is drawn: which tokens are hidden, one at least."""
        assert signal.lengths is not None
        lengths = signal.lengths.cpu() if signal.lengths_on_host is None else signal.lengths_on_host
        present = signal.present.cpu() if signal.host is None else signal.host.present
        mask = (torch.arange(signal.values.shape[1])[None] < lengths[:, None]) & present[:, None]
        hidden = (torch.rand(mask.shape) < HIDDEN_SHARE) & mask
        return hidden if hidden.any() else mask & (mask.cumsum(1) == 1)


class _OwnLoss:
    """What the loop validates by: the mean of the loss itself."""

    outputs = NUMBERS
    compares_rows = False
    enrolled = 0
    primary_metric = "loss"
    primary_higher_is_better = False

    @property
    def metrics(self) -> dict[str, bool]:
        return {"loss": False}

    def score(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:  # noqa: ARG002 - there are none
        return {"loss": float(outputs.mean())}

    def gain(self, outputs: Tensor, other: Tensor, targets: Tensor) -> Interval:  # noqa: ARG002
        """How much lower the loss is; of means of batches there is no interval."""
        lower = float(other.mean() - outputs.mean())
        return Interval(lower, lower, lower, len(outputs))
