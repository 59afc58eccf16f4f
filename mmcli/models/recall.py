"""Known texts as a member of a model that writes: those of the train rows whose inputs are most alike, recited. Nothing is
learnt here.

    cos = sum over inputs m of s_m cos(x_m P_m, x_m P_m of each train row),   w = (cos - t) / h

x_m is what a linear model reads of an input (encoders `plain` and `bag`), P_m a projection drawn at random, which keeps angles
(Johnson and Lindenstrauss 1984). The K texts of the largest cosines, with their weights w, are what `text.reciter` looks at;
and of each input that is a text itself, what its words become in a dictionary, with a weight of its own. It stands in a recipe
as a method, but is none of those that users choose from: `jobs.recalling` fills it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.exports.dictionary import looked_up
from mmcli.fusions import Family, Fusion
from mmcli.heads import Writes
from mmcli.layers.ngrams import spelt
from mmcli.models.networks import FusionHead
from mmcli.signals import Column, Features, Fused, Kind, Signal, SignalSpec, Source
from mmcli.tasks import Task
from mmcli.text.reciter import Reciter, remembered, sizes

METHOD = "recall"
"""What a recipe calls it."""
WORDS = "words"
"""What it calls the encoder that looks words up."""
TEXTS, UNITS = 8, 4096
"""K, and the units that they may come to in all, else K is less."""
STEPS = 10_000.0
"""Cosines are told apart by so many steps: what differs by rounding alone is equal, and rows that are the same are."""
SAME = 1 - 1.5 / STEPS
"""From which cosine on two rows are the same."""


class Config(BaseConfig):
    """How much is looked up."""

    bytes: int = Field(ge=2, le=2**28)
    """Of the table, as JSON."""
    dim: int = Field(ge=1, le=2**16)
    """Units of a text, at most."""


class LookedUp(Encoder):
    """Ids [T] -> as its pooled features the units of the text that its words become in a dictionary, from 1 on, then zeros.
    Parameters: D, none of which counts."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"ids"})
    keeps_order: ClassVar[bool] = False

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        super().__init__(spec, config.dim)
        self.pieces = spec.pieces
        self.entries: Tensor
        self.register_buffer("entries", torch.zeros(config.bytes, dtype=torch.uint8))
        self.known: dict[str, Any] = {}
        """The table: see `exports.dictionary`."""

    def learn(self, data: bytes) -> None:
        """Takes a table, as JSON of so many bytes as the config says.

        Raises:
            ValueError: it is none.
        """
        self.entries.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        self.known = _checked(data)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        if prefix + "entries" in state_dict:
            self.known = _checked(self.entries.cpu().numpy().tobytes())

    def prepare(self, column: Source) -> Column:
        """From token ids to units, int32, ragged."""
        made = [torch.tensor(ids[: self.dim], dtype=torch.int32) for ids in looked_up(spelt(column, self.pieces), self.known)]
        offsets = torch.tensor([0, *map(len, made)]).cumsum(0)
        device = column.present.device
        return Column(torch.cat(made).to(device) if made else torch.zeros(0), column.present, offsets.to(device))

    def preparation(self) -> dict[str, Any]:
        return {"words": self.known}

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:  # noqa: ARG004 - whatever the vocabulary
        return config.dim

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        units = (signal.values * signal.mask()).float()
        pooled = F.pad(units, (0, self.dim))[:, : self.dim]
        return pooled, pooled[:, None], torch.ones_like(pooled[:, :1], dtype=torch.bool)


def _checked(data: bytes) -> dict[str, Any]:
    """A table of words from JSON.

    Raises:
        ValueError: it is none.
    """
    found = json.loads(data.decode("utf-8"))
    wanted = {"blanks": bool, "first": dict, "later": dict, "between": list, "letters": dict}
    if not isinstance(found, dict) or {key: type(own) for key, own in found.items()} != wanted:
        raise ValueError("this is no table of words")
    texts = [found["between"], *found["first"].values(), *found["later"].values(), [*found["letters"].values()]]
    units = all(isinstance(own, list) and all(type(unit) is int and unit > 0 for unit in own) for own in texts)
    if not units or set(found["first"]) != set(found["later"]):
        raise ValueError("this is no table of words: its units are not numbers from 1 on, or words lack theirs")
    return dict(found)


class Keys(Fusion):
    """Vectors side by side, each brought to length one and then to the root of its share: their dot product with another
    row's is the mean of the cosines. An absent input is zeros. Behind them stand the texts that words were looked up for, as
    they are. Parameters: 0."""

    family: ClassVar[Family] = "feature"
    order_sensitive: ClassVar[bool] = False
    absent_inputs: ClassVar[Literal["embedding", "masked"]] = "embedding"

    def __init__(self, dims: Mapping[str, int], words: Sequence[str] = ()) -> None:
        super().__init__(dims, sum(dims.values()))
        self.words = list(words)
        self.told = [name for name in dims if name not in self.words]
        self.width = sum(dims[name] for name in self.told)
        """Of the vectors."""
        self.shares: Tensor
        self.register_buffer("shares", torch.full((len(self.told),), 1 / len(self.told)))

    @staticmethod
    def parameter_formula(config: Any, dims: Mapping[str, int]) -> int:  # noqa: ARG004 - nothing to choose
        return 0

    def forward(self, features: Mapping[str, Features]) -> Fused:
        own = [F.normalize(features[name].pooled.float(), dim=1) for name in self.told]
        keys = [each * share for each, share in zip(own, self.shares.sqrt(), strict=True)]
        return Fused(torch.cat([*keys, *(features[name].pooled.float() for name in self.words)], 1))


class Recall(Writes):
    """Keys, and texts that were looked up -> these and the texts of the train rows that are most alike, recited. Parameters:
    0."""

    def __init__(self, task: Task, keys: Keys, dims: Sequence[int], rows: int, longest: int, beam: int) -> None:
        super().__init__(task, keys.dim, Reciter(sizes(task.width)), beam)  # type: ignore[attr-defined]
        self.strangers = False
        """Whether a row that is the same as a known one may not be told that one's text: of train rows it is their own."""
        self.width, self.dims = keys.width, list(dims)
        self.keys: Tensor
        self.texts: Tensor
        self.threshold: Tensor
        self.heat: Tensor
        self.trust: Tensor
        self.register_buffer("keys", torch.zeros(rows, keys.width))
        self.register_buffer("texts", torch.full((rows, longest), -1, dtype=torch.int32))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("heat", torch.ones(()))
        self.register_buffer("trust", torch.zeros(()))  # what a text that was looked up has in place of a cosine

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *others: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        if len(self.texts) and not -1 <= int(self.texts.min()) <= int(self.texts.max()) < self.writer.sizes.units:
            raise ValueError("its texts hold units that there are none of")

    @staticmethod
    def parameter_formula(config: Any, task: Task, dim: int) -> int:  # noqa: ARG004 - nothing to choose
        return 0

    def memory(self, fused: Fused) -> tuple[Tensor, Tensor, Tensor]:
        keys, *words = fused.pooled.split([self.width, *self.dims], 1)
        cosines = (_product(keys, self.keys) * STEPS).round() / STEPS
        if self.training or self.strangers:
            cosines = torch.where(cosines < SAME, cosines, -1.0)
        count = min(TEXTS, max(UNITS // self.texts.shape[1], 1), len(self.keys))
        index = _most(cosines, count).sort(1).values
        known, longest = self.texts[index].long(), max([self.texts.shape[1], *self.dims])
        texts = [F.pad(known, (0, longest - known.shape[2]), value=-1)]
        for own in words:
            units = F.pad(own.round().long(), (0, longest - own.shape[1]))
            texts.append(torch.where((units > 0) & (units < self.writer.sizes.units), units, -1)[:, None])
        likeness = F.pad(cosines.gather(1, index), (0, len(words)))
        likeness = torch.cat([likeness[:, :count], likeness[:, count:] + self.trust], 1)
        every = torch.cat(texts, 1)
        memory, mask = remembered(every, (likeness - self.threshold) / self.heat)
        return memory, mask, (every >= 0).sum(2).amax(1)


def _most(cosines_BN: Tensor, count: int) -> Tensor:
    """int64 [B, count]: where the largest are, of equal ones the first: what is taken off for the place is less than a step."""
    places = torch.arange(cosines_BN.shape[1], device=cosines_BN.device)
    return (cosines_BN.double() - places / (2 * STEPS * len(places))).topk(count, dim=1).indices


def _product(keys_BD: Tensor, known_ND: Tensor) -> Tensor:
    """Dot products [B, N] in float32, whatever else is computed in."""
    if not torch.is_autocast_enabled(keys_BD.device.type):
        return keys_BD @ known_ND.T
    with torch.autocast(keys_BD.device.type, enabled=False):
        return keys_BD.float() @ known_ND.float().T


def build(
    dims: Mapping[str, int], sources: Mapping[str, str], task: Task, fusion: Mapping[str, Any], beam: int = 1
) -> FusionHead:
    """The member over encoders of those widths, empty; `fusion` says how many `rows` it remembers, of so many units each
    (`longest`), and which of the encoders look up `words`; `beam` is that of the heads beside it."""
    words = list(fusion["words"])
    keys = Keys(dims, words)
    head = Recall(task, keys, [dims[name] for name in words], fusion["rows"], fusion["longest"], beam)
    return FusionHead(keys, head, dims, sources)
