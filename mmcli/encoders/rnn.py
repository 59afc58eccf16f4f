"""A recurrent network (LSTM or GRU) over token ids or a sequence of vectors, packed by the true lengths.

`preset = "reference"` builds the founding network instead: Embedding(10000, 64) and LSTM(64), the last state. The embedding has
640,000 parameters; the LSTM 4 x (64 x 64 + 64 x 64 + 2 x 64) = 33,280, since torch keeps two bias vectors where Keras keeps one
(33,024). The absent embedding of 64 is beside them.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError
from mmcli.layers.recurrent import recurrent, recurrent_padded
from mmcli.signals import Kind, Signal, SignalSpec

TRAINING = {"epochs": 40, "learning_rate": 4e-3, "batch_size": 32, "weight_decay": 0.05, "patience": 10}
AUGMENT = {"none": {"token_dropout": 0.0}, "strong": {"token_dropout": 0.3}}
REFERENCE_VOCABULARY = 10_000


class Config(BaseConfig):
    """What recurs, and how wide."""

    preset: Literal["modern", "reference"] = "modern"
    """`reference` builds the founding network exactly; the other options then do not apply."""
    cell: Literal["lstm", "gru"] = "lstm"
    """The recurrent cell."""
    embedding: int = Field(128, ge=1)
    """Width of the token embedding (or of the projection of a sequence of vectors)."""
    hidden: int = Field(128, ge=1)
    """Width of the state, in each direction."""
    layers: int = Field(1, ge=1)
    """Recurrent layers on top of each other."""
    bidirectional: bool = True
    """Whether a second pass reads from the end."""
    pool: Literal["max", "mean", "last"] = "max"
    """How the states of all steps become one vector."""
    dropout: float = Field(0.4, ge=0, lt=1)
    """Dropout on embeddings and states."""
    token_dropout: float = Field(0.15, ge=0, lt=1)
    """Share of tokens hidden while training."""


class Rnn(Encoder):
    """Ids [T] or a sequence [T, D] -> one token for each step."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"ids", "sequence", "spectrogram"})
    steps: ClassVar[frozenset[Kind]] = kinds

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        vocabulary = spec.vocab_size
        if config.preset == "reference":
            config = Config(
                preset="reference",
                embedding=64,
                hidden=64,
                bidirectional=False,
                pool="last",
                dropout=0,
                token_dropout=0,
            )
            if vocabulary > REFERENCE_VOCABULARY:
                raise ConfigError(
                    f"the reference rnn has {REFERENCE_VOCABULARY} embeddings, the tokenizer {vocabulary} tokens",
                    f"Preprocess with --vocab-size {REFERENCE_VOCABULARY} or less.",
                )
            vocabulary = REFERENCE_VOCABULARY
        super().__init__(spec, config.hidden * (2 if config.bidirectional else 1))
        self.config = config
        self.embed: nn.Module = (
            nn.Embedding(vocabulary, config.embedding) if spec.kind == "ids" else nn.Linear(spec.shape[-1], config.embedding)
        )
        cell = nn.LSTM if config.cell == "lstm" else nn.GRU
        self.recur = cell(
            config.embedding,
            config.hidden,
            num_layers=config.layers,
            bidirectional=config.bidirectional,
            batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:
        if config.preset == "reference":
            return REFERENCE_VOCABULARY * 64 + 4 * (64 * 64 + 64 * 64 + 2 * 64) + 64
        gates, directions = (4 if config.cell == "lstm" else 3), (2 if config.bidirectional else 1)
        embed = spec.vocab_size if spec.kind == "ids" else spec.shape[-1] + 1
        total, inner = embed * config.embedding, config.embedding
        for _ in range(config.layers):
            total += directions * gates * config.hidden * (inner + config.hidden + 2)
            inner = config.hidden * directions
        return total + inner

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        assert signal.lengths is not None
        values = signal.values.long() if isinstance(self.embed, nn.Embedding) else signal.values.float()
        embedded_BTD = self.dropout(self._hide(self.embed(values)))
        lengths = signal.lengths.clamp(min=1)
        on_host = signal.lengths_on_host
        ends = None if on_host is None else on_host.clamp(min=1)
        last: Tensor | None = None
        if self.training and isinstance(self.recur, nn.LSTM) and self.config.pool != "last":
            # Its gradient is several times as fast; without one, packed rows are, where few of them are long.
            tokens_BTD = recurrent_padded(self.recur, embedded_BTD, lengths, ends)
        else:
            tokens_BTD, last = recurrent(self.recur, embedded_BTD, lengths, ends)
        mask = torch.arange(embedded_BTD.shape[1], device=lengths.device)[None] < lengths[:, None]
        return self.dropout(self._pool(tokens_BTD, mask, last)), tokens_BTD, mask

    def _hide(self, embedded_BTD: Tensor) -> Tensor:
        if not self.training or not self.config.token_dropout:
            return embedded_BTD
        kept = torch.rand(embedded_BTD.shape[:2], device=embedded_BTD.device) >= self.config.token_dropout
        return embedded_BTD * kept[..., None]

    def _pool(self, tokens_BTD: Tensor, mask: Tensor, last: Tensor | None) -> Tensor:
        if last is not None and self.config.pool == "last":
            directions = 2 if self.config.bidirectional else 1
            return last[-directions:].transpose(0, 1).flatten(1)
        if self.config.pool == "mean":
            return tokens_BTD.sum(1) / mask.sum(1, keepdim=True)
        return tokens_BTD.masked_fill(~mask[..., None], float("-inf")).amax(1)
