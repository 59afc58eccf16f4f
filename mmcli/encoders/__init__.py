"""Sub-models: one architecture a file, found by its name. Knows nothing of targets, other columns or the disk.

This file is their contract. An encoder turns the signal of one column into features. One architecture may serve several
modalities: it says which kinds of signal it takes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli import registry
from mmcli.errors import ConfigError
from mmcli.layers.blocks import bounded_tokens
from mmcli.pretrained import licences
from mmcli.pretrained import weights as pretrained
from mmcli.pretrained.config import BackboneConfig
from mmcli.pretrained.conversion import check, rescaled
from mmcli.pretrained.licences import Origin
from mmcli.pretrained.splicing import Cut, Splice
from mmcli.signals import Column, Features, Kind, Signal, SignalSpec, Source


class Encoder(nn.Module, ABC):
    """Signal -> Features of width `dim`. Rows whose cell is absent get a learned embedding instead."""

    kinds: ClassVar[frozenset[Kind]]
    """The kinds of signal that it takes."""
    keeps_order: ClassVar[bool] = True
    """Whether its tokens stand for the steps of the signal, one for each or for a run."""
    steps: ClassVar[frozenset[Kind]] = frozenset()
    """The kinds of signal of which its tokens are steps in order: of time, of a text, of a line of print from left to right."""
    stride: int = 1
    """Steps of the signal, at most, to one of its tokens, where these are steps in order."""
    may_halve: ClassVar[bool] = False
    """Whether its option `stride` is 4 or 2, so that texts which are long for their rows may be given twice the steps."""
    table: nn.Parameter
    """[F, D], of an encoder with features that are known beforehand: what these are multiplied by (see `sparse`)."""
    no_graph: ClassVar[str] = ""
    """Why a model that it is of cannot be one graph, in words; empty where it may."""
    varies: bool = True
    """Whether training may vary what it reads at random: not where that is computed once."""

    def __init__(self, spec: SignalSpec, dim: int) -> None:
        super().__init__()
        if spec.kind not in self.kinds:
            takes = ", ".join(sorted(self.kinds))
            raise ConfigError(
                f"the encoder {registry.name_of(type(self))} takes {takes}, the column is a {spec.kind}",
                'See which fit: "mmcli list encoders".',
            )
        self.dim = dim
        self.apart = False
        """Set while the encoder trains alone: one with several members then gives the rows of each, one after the other, so
        that each has a loss of its own; else their mean."""
        self.absent = nn.Parameter(torch.zeros(dim))

    @classmethod
    def resolve(cls, config: Any) -> Any:
        """The config with all in it that building the encoder needs, so that its artifact stands alone."""
        return config

    @classmethod
    def suited(cls, config: Any, width: int) -> Any:  # noqa: ARG003 - most are wide enough
        """The config for answers of so many numbers that decide, where the user does not say how wide it is."""
        return config

    @classmethod
    def preprocessing(cls, config: Any) -> dict[str, dict[str, Any]]:  # noqa: ARG003 - most take what comes
        """Modality -> the options of it that the encoder's pretrained weights were trained with."""
        return {}

    def start(self) -> None:
        """Takes over pretrained weights, where the config names some, before the first step."""

    def origin(self) -> Origin | None:
        """Whose weights these are, and their licence, once it has started; None where nobody else's."""
        return None

    def learning_rates(self) -> dict[str, float]:
        """Beginning of parameter names -> factor on the learning rate; 1 for the others."""
        return {}

    def prepare(self, column: Source) -> Source:
        """What can be computed of a column once, before any epoch, without parameters that train."""
        return column

    def preparation(self) -> dict[str, Any] | None:
        """What `prepare` does, as plain JSON, for programs that lack it: nothing ({}), or `ngrams`, hashed so, and
        counted unless `counted` is false; None where it alone can."""
        return {} if type(self).prepare is Encoder.prepare else None

    def compute_all(self) -> None:
        """Leaves nothing to `prepare` that the network itself can compute: a graph then takes signals as they come."""

    def fit(self, column: Source) -> None:
        """Learns statistics from the prepared train rows into buffers, before the first step."""

    def lay_aside(self) -> None:
        """Lays the parameters aside that no train row can change, until `take_back`: a step that trains is then spared them."""

    def take_back(self) -> None:
        """Has all parameters again, those that were left as they have become."""

    def sparse(self, column: Source) -> Any:  # noqa: ARG002 - most learn what they read
        """Of an encoder whose pooled features are `x table`, a sparse x that is known beforehand times `table` [F, D]: the x of
        the rows of a prepared column, scipy's CSR [N, F] in float32. A linear model of it is then solved at once, and the
        table is made of both: see `jobs.solving`. None of any other."""
        return None

    @staticmethod
    @abstractmethod
    def parameter_formula(config: Any, spec: SignalSpec) -> int:
        """How many parameters it has, the absent embedding included: arithmetic, held against the module by a test."""

    @abstractmethod
    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        """pooled [B, D], tokens [B, T, D] and their mask bool [B, T], of a prepared signal."""

    def forward(self, signal: Signal) -> Features:
        """Features with the absent embedding put in, as `pooled` and as the only token. Absent rows are not encoded at all:
        they cost nothing, and do not enter the statistics of a batch."""
        if torch.compiler.is_exporting():
            return self._encode_all(signal)
        rows, (index, there) = len(signal.present), signal.only_present()
        if len(index) == rows:
            pooled, tokens, mask = self.encode(signal)
            return Features(pooled, tokens, mask, signal.present.repeat(len(pooled) // rows))
        if not len(index):
            pooled = self.absent.expand(rows, -1)
            return Features(pooled, pooled[:, None], torch.ones_like(signal.present)[:, None], signal.present)
        pooled, tokens, mask = self.encode(there)
        members = len(pooled) // len(index)
        index = torch.cat([index + member * rows for member in range(members)])
        absent = self.absent.to(pooled.dtype)
        first = torch.zeros(members * rows, mask.shape[1], dtype=torch.bool, device=mask.device)
        first[:, 0] = True
        return Features(
            absent.expand(members * rows, -1).index_copy(0, index, pooled),
            absent.expand(members * rows, tokens.shape[1], -1).index_copy(0, index, tokens),
            first.index_copy(0, index, mask),
            signal.present.repeat(members),
        )

    def _encode_all(self, signal: Signal) -> Features:
        """The same for a graph, which cannot leave rows out: absent ones are encoded, and what comes of them is not used."""
        pooled, tokens, mask = self.encode(signal)
        here_B1, absent = signal.present.unsqueeze(1), self.absent.to(pooled.dtype)
        first = torch.arange(mask.shape[1], device=mask.device) == 0
        return Features(
            torch.where(here_B1, pooled, absent),
            torch.where(here_B1.unsqueeze(2), tokens, absent),
            (mask & here_B1) | (first & ~here_B1),
            signal.present,
        )


class Backbone(Encoder):
    """A network of another library without its classifier, pretrained or not, of which all, some or nothing trains.

    With `tune = "head"` the network runs once over every row, in `prepare`; what trains is the head behind it. With `last-N`
    its frozen part may run but once as well, while it trains: see `split`."""

    MOST_TOKENS: ClassVar[int] = 16
    """Tokens kept of a row where the network runs but once; longer rows are averaged in runs."""

    def __init__(self, config: BackboneConfig, spec: SignalSpec, body: nn.Module, dim: int) -> None:
        super().__init__(spec, dim)
        if config.tune != "full" and config.weights == "none":
            raise ConfigError(
                f"--tune {config.tune} keeps weights as they are, and with --weights none they are random",
                "Give --weights, or leave --tune out.",
            )
        if config.convert and config.weights == "none":
            raise ConfigError(
                "convert=true makes signals into what pretrained weights know, and with --weights none they are random",
                "Give --weights, or leave convert out.",
            )
        if config.conversion:
            check(config.conversion)
        self.config = config
        self.frozen = config.tune == "head"
        self.varies = not self.frozen
        self.at_once = False
        """Whether a network that does not train runs in `encode` all the same."""
        self.splice: Splice | None = None
        """Where the network is cut, while what it reads is what its frozen part made of the rows."""
        self.shape = spec.shape
        self.body = pretrained.tune(body, config.tune, config.lora_rank)
        self.dropout = nn.Dropout(config.dropout)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(dim if self.frozen else 0))
        self.register_buffer("std", torch.ones(dim if self.frozen else 0))

    @abstractmethod
    def run(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        """pooled [B, D], tokens [B, T, D] and their mask [B, T]: what the network makes of a signal."""

    @abstractmethod
    def load(self, weights: str) -> None:
        """Puts the weights that `weights` names (not `none`) into the network."""

    def seen(self, signal: Signal) -> Signal:
        """A signal as the weights were trained to see it: of pictures and clips in their size and normalisation."""
        how = self.config.conversion
        return replace(signal, values=rescaled(signal.values, how)) if "size" in how else signal

    def start(self) -> None:
        if self.config.weights != "none":
            self.load(self.config.weights)

    def origin(self) -> Origin | None:
        return licences.origin(self.config)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if mode and self.config.tune != "full":
            pretrained.hold_still(self.body)
        return self

    def learning_rates(self) -> dict[str, float]:
        if self.config.weights == "none":
            return {}
        return {f"body.{name}": factor for name, factor in pretrained.rates(self.body, self.config.layer_decay)}

    def prepare(self, column: Source) -> Source:
        """The column; or, of a network that does not train, its pooled features and after them its tokens, ragged."""
        if not self.frozen or self.at_once:
            return column
        self.body.eval()
        device = self.absent.device
        values, lengths = [], torch.zeros(len(column), dtype=torch.int64)
        with torch.no_grad():
            here = column.present.nonzero()[:, 0]
            for index in here.split(32) if len(here) else ():  # no network is asked about nothing
                pooled, tokens, mask = self.run(self.seen(column.gather(index).to(device)))
                tokens, mask = bounded_tokens(tokens.float(), mask, self.MOST_TOKENS)
                lengths[index] = mask.sum(1).cpu() + 1
                both = torch.cat([pooled[:, None].float(), tokens], 1)
                values.append(both[F.pad(mask, (1, 0), value=True)].half().cpu())
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        together = torch.cat(values) if values else torch.zeros(0, self.dim, dtype=torch.float16)
        return Column(together.to(column.present.device), column.present, offsets.to(column.present.device))

    @classmethod
    def may_split(cls, config: Any) -> bool:
        """Whether `split` may cut such a network, as far as is known before it is built."""
        return str(config.tune).startswith("last-")

    def split(self, column: Source) -> bool:
        """Cuts the network before the first block that trains, if it may be cut, which two rows of a prepared column tell: from
        here on it reads what `keep` makes of columns. Its parameters stay what they are: what is saved is the whole network."""
        here = column.present.nonzero()[:, 0].cpu()
        if not self.config.tune.startswith("last-") or not len(here):
            return False
        ends = here if column.lengths is None else column.lengths.cpu()[here]
        some = here[torch.stack([ends.argmin(), ends.argmax()])]
        signal = column.gather(some).to(self.absent.device)
        training, steps = self.training, self.kept_steps(signal.lengths)
        self.eval()
        self.splice = Splice.made(
            self.body,
            lambda: _real(*self.run(self.seen(signal))),
            lambda: _real(*self.run(self.blank(len(some), steps))),
            lambda states: _within(states, steps),
        )
        self.train(training)
        self.varies = self.splice is None
        return self.splice is not None

    def split_again(self, cut: Cut) -> None:
        """Cuts the network as `split` cut another of the same config."""
        self.splice, self.varies = Splice.again(self.body, cut), False

    def keep(self, column: Source) -> Column:
        """What the last frozen block gives of every row of a prepared column, once the network is split: [N, ...], or ragged
        [sum of steps, D] where the column is."""
        assert self.splice is not None
        self.splice.take_out()
        self.body.eval()
        device, lengths = column.present.device, self._kept_lengths(column)
        offsets = None if lengths is None else torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        values = torch.zeros(self._kept_shape(column), dtype=self.splice.dtype, device=device)  # once: it may be all there is
        here = column.present.nonzero()[:, 0].cpu()
        for index in here.split(32) if len(here) else ():
            signal = self.seen(column.gather(index).to(self.absent.device))
            states = self.splice.capture(partial(self.run, signal))
            if lengths is None or offsets is None:
                values[index.to(device)] = states.to(device, values.dtype)
                continue
            real = states[_places(states, lengths[index].to(states.device))]
            first, last = int(offsets[index[0]]), int(offsets[index[-1] + 1])
            values[first:last] = real.to(device, values.dtype)  # rows between them are absent, and have none
        self.splice.put_in()
        return Column(values, column.present, None if offsets is None else offsets.to(device))

    def kept_bytes(self, column: Source) -> int:
        """How many bytes `keep` takes."""
        assert self.splice is not None
        return math.prod(self._kept_shape(column)) * self.splice.dtype.itemsize

    def _kept_shape(self, column: Source) -> tuple[int, ...]:
        assert self.splice is not None
        lengths = self._kept_lengths(column)
        return (len(column), *self.splice.shape) if lengths is None else (int(lengths.sum()), *self.splice.shape[1:])

    def _kept_lengths(self, column: Source) -> Tensor | None:
        """int64 [N], on the host: how many states are kept of each row, 0 of absent ones; None where rows do not differ."""
        if column.lengths is None:
            return None
        steps = self.kept_steps(column.lengths.cpu())
        assert steps is not None
        return torch.where(column.present.cpu(), steps, torch.zeros_like(steps))

    def join(self) -> None:
        """Undoes `split`."""
        assert self.splice is not None
        self.splice.take_out()
        self.splice, self.varies = None, True

    def kept_steps(self, lengths: Tensor | None) -> Tensor | None:
        """How many states of rows that are so long [B] are real, where rows differ in that."""
        return lengths

    def blank(self, rows: int, steps: Tensor | None) -> Signal:  # noqa: ARG002 - of rows that do not differ
        """What stands in for rows, as `seen`, of which so many states [B] are kept."""
        here = torch.ones(1, dtype=torch.bool, device=self.absent.device)
        one = self.seen(Signal(torch.zeros(1, *self.shape, device=self.absent.device), here))
        return Signal(one.values.expand(rows, *one.values.shape[1:]), here.expand(rows))

    def preparation(self) -> dict[str, Any] | None:
        return {} if not self.frozen or self.at_once else None

    def compute_all(self) -> None:
        self.at_once = True

    def fit(self, column: Source) -> None:
        """Of a network that does not train: mean and deviation of its pooled features."""
        if self.frozen and column.present.any():
            assert isinstance(column, Column)
            assert column.offsets is not None
            pooled = column.values[column.offsets[:-1][column.present]].float()
            self.mean.copy_(pooled.mean(0))
            self.std.copy_(pooled.std(0, unbiased=False).clamp(min=1e-4))

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        if self.splice is not None:
            stand_in = self.blank(len(signal.values), signal.lengths)
            pooled, tokens, mask = self.splice.fed(signal.values, lambda: self.run(stand_in))
            return self.dropout(pooled), tokens, mask
        if not self.frozen:
            pooled, tokens, mask = self.run(self.seen(signal))
            return self.dropout(pooled), tokens, mask
        if self.at_once:
            pooled, tokens, mask = self.run(self.seen(signal))
            tokens, mask = bounded_tokens(tokens.float(), mask, self.MOST_TOKENS)
            both = torch.cat([pooled[:, None].float(), tokens], 1).half().float()
            scaled = (both - self.mean) / self.std
            return self.dropout(scaled[:, 0]), scaled[:, 1:], mask
        scaled = (signal.values.float() - self.mean) / self.std
        return self.dropout(scaled[:, 0]), scaled[:, 1:], signal.mask()[:, 1:]


def _places(states: Tensor, steps: Tensor) -> Tensor:
    """bool [B, T]: which of the states [B, T, D] are real."""
    return torch.arange(states.shape[1], device=states.device)[None] < steps[:, None]


def _within(states: Tensor, steps: Tensor | None) -> Tensor:
    """States padded no further than the longest row, with zeros."""
    return states if steps is None else (states * _places(states, steps)[..., None])[:, : int(steps.max())]


def _real(pooled: Tensor, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """With zeros for the tokens that are not real."""
    return pooled, tokens * mask[..., None], mask


def parameter_count(module: nn.Module) -> int:
    """How many trainable numbers a module holds."""
    return sum(parameter.numel() for parameter in module.parameters())


Contract = Encoder
__all__ = ["Backbone", "Contract", "Encoder", "parameter_count"]
