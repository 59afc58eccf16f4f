"""How the one training loop runs, and how it computes: the options of both."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field

from mmcli.config import Config
from mmcli.config.settings import Settings


class TrainingConfig(Config):
    """How the one training loop runs. Stages and architectures bring their own defaults."""

    epochs: int = Field(40, ge=1)
    """Passes over the training rows, at most; early stopping may end sooner."""
    batch_size: int = Field(64, ge=1)
    """Rows in one optimizer step."""
    rows_each: int = Field(4, ge=2)
    """Where identities are told apart: rows of each of them in a batch, which holds `batch_size` rows of as many identities."""
    accumulate: int = Field(1, ge=1)
    """Parts that a batch is computed in, one after the other, their gradients added up: less memory for the same step, but
    where BatchNorm layers train (convolutions, networks of other libraries): their statistics are a part's, which is said."""
    recompute: bool = False
    """Whether what an encoder's blocks keep for the backward pass is computed again instead: less memory, slower."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak of the schedule: linear warm-up, then a cosine to zero."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's decoupled weight decay."""
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of all steps spent warming up."""
    clip_norm: float = Field(1.0, ge=0)
    """Largest norm of the gradient; 0 switches clipping off."""
    patience: int = Field(12, ge=1)
    """Epochs without a better val score or a lower val loss before training stops."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights are kept: the best on val; or the last, at the end of the learning rate's descent, unless the best
    is better beyond the noise of the val rows. With `last`, patience ends nothing; asking for a patience asks for `best`."""
    soup: int = Field(0, ge=0, le=32)
    """Epochs whose weights may be averaged in the end, the best on val; each is taken in only if val is better for it. 0 keeps
    the weights of one epoch."""
    ema: float = Field(0.98, ge=0, lt=1)
    """Decay of the running average of the weights that is validated and kept; 0 keeps the raw weights."""
    augment: Literal["none", "light", "strong"] = "light"
    """Random changes to training inputs (--augment), as each modality and encoder knows them: shifts and brightness of images,
    blanked stretches of sound, dropped tokens and fields."""
    mix: Literal["none", "mixup", "cutmix"] = "none"
    """Rows of a batch mixed in pairs, with their targets: blended (Zhang 2018), or a piece of one put into the other (Yun
    2019); for pictures, sound and clips."""
    consistency: float = Field(0.0, ge=0)
    """Where a text is read by CTC: each row is varied twice in a step, of sound more being hidden, and this is the weight of
    how far what is said of both, step by step, lies apart (CR-CTC, Yao 2024). 0: each is read once."""
    modality_dropout: float = Field(0.0, ge=0, lt=1)
    """While fusing: how often each input of a training row is taken away, never all of them (--modality-dropout)."""
    decisions: bool = True
    """While fusing features: the columns' own predictions, weighted, are added to what F and its head make of the features,
    so that F learns what they do not say. Methods that fuse decisions have nothing else. Also whether what decides without F,
    the columns' own predictions, the plain linear model, known texts, may be a member beside it, where val shows that it
    pays."""
    swap: bool = True
    """While fusing on embeddings: each input's features are swapped with another row's as often as makes the input's own score
    on train what it is on val. Encoders know their train rows by heart; F must not learn to trust that."""
    auxiliary: float = Field(0.3, ge=0)
    """Weight of each column's own loss where encoders and fusion are trained together."""
    warm_epochs: int = Field(20, ge=1)
    """Epochs of the self-supervised warm start, where there is one (--unlabelled use)."""
    balance: float = Field(0.0, ge=0)
    """Where encoders and fusion train together: how strongly the gradient of a column that is ahead is held back (OGM)."""
    anchor: float = Field(0.0, ge=0)
    """The same: weight of the distance of each column's features from those of its own training (unimodal teachers)."""
    align: float = Field(0.0, ge=0)
    """The same: weight of a contrastive loss that brings the columns of a row together (--align)."""
    checkpoint_every_s: float = Field(15.0, ge=0)
    """Seconds between checkpoints; 0 writes one after every step."""

    def told(self) -> dict[str, Any]:
        """For fingerprints: what was made before an option was there stays as it is where that is at its default."""
        return self.model_dump(exclude=None if self.consistency else {"consistency"})

    @classmethod
    def of(cls, settings: Settings, **defaults: Any) -> Self:
        """How to train: class defaults, then `defaults`, then what the user said."""
        if "patience" in settings.said("training"):
            defaults = {**defaults, "keep": "best"}
        return settings.section("training", cls, **defaults)


class ComputeConfig(Config):
    """How training computes, where it is not to be measured; the precision has a flag of its own (--precision)."""

    memory_format: Literal["auto", "channels-last", "contiguous"] = "auto"
    """How pictures lie in memory."""
    optimizer: Literal["auto", "fused", "foreach"] = "auto"
    """Whether AdamW steps in one kernel, or in one for each operation."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether the network goes through torch.compile; by itself only on a GPU."""
    tf32: Literal["auto", "on", "off"] = "auto"
    """Whether an NVIDIA GPU may round the factors of float32 products to TF32, 10 bits behind the point, while it trains:
    several times as fast. auto: unless --precision float32 asks for more."""
    threads: int = Field(0, ge=0, le=1024)
    """Cores that one process computes on; 0: as many as are faster."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """How to compute, where it is said."""
        return settings.section("compute", cls)
