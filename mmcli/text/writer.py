"""A network that writes texts unit by unit, looking at the memory of a row: the decoder of a transformer (Vaswani 2017).

    x_0 = sqrt(D) E[unit] + f(place)
    x = x + SelfAttention(LN x);  x = x + CrossAttention(LN x <- LN memory);  x = x + W (relu(G LN x) * U LN x)
    log softmax(LN(x) E^T + b)

Pre-norm (Xiong 2020), a gate in the feed-forward layers (ReGLU, Shazeer 2020), one table E for what is read and what is written
(Press and Wolf 2017). Unit 0 is the start and the end of every text: CTC's blank, which no text holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EDGE = 0
"""The unit before the first and after the last."""
Cache = tuple[tuple[Tensor, Tensor], ...]
"""What a hypothesis has of its own: of each layer the keys and values [N, H, T, D / H] of the units that it has read."""


@dataclass(frozen=True)
class Sizes:
    """Of a writer, as numbers."""

    units: int
    """With unit 0."""
    memory: int
    """Width of the tokens that it looks at."""
    dim: int
    layers: int
    heads: int
    frames: int = 0
    """1 where the tokens are read by CTC besides."""

    def tensor(self) -> Tensor:
        """For a file."""
        return torch.tensor(astuple(self))

    @classmethod
    def of(cls, numbers: Tensor) -> Self:
        """The reverse of `tensor`."""
        return cls(*numbers.tolist())

    @property
    def parameters(self) -> int:
        """V D + V + 2 M + 2 D + layers (6 D + 6 (D + 1) D + 2 (M + 1) D + 2 (D + 1) E + (E + 1) D), with E = 4 D / 3; with
        frames (M + 1) V more."""
        dim, inner, memory = self.dim, self.dim * 4 // 3, self.memory
        layer = 6 * dim + 6 * (dim + 1) * dim + 2 * (memory + 1) * dim + 2 * (dim + 1) * inner + (inner + 1) * dim
        edges = (dim + 1) * self.units + 2 * memory + 2 * dim
        return edges + self.layers * layer + self.frames * (memory + 1) * self.units


class Layer(nn.Module):
    """What was written asks itself, then the memory; then a feed-forward layer with a gate."""

    def __init__(self, sizes: Sizes, dropout: float) -> None:
        super().__init__()
        dim, inner = sizes.dim, sizes.dim * 4 // 3
        self.heads = sizes.heads
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for _ in range(3)])
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.ask = nn.Linear(dim, dim)
        self.answer = nn.Linear(sizes.memory, 2 * dim)
        self.found = nn.Linear(dim, dim)
        self.up = nn.Linear(dim, 2 * inner)
        self.down = nn.Linear(inner, dim)
        self.dropout = nn.Dropout(dropout)

    def pair(self, memory_BSM: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, S, D / H] of the memory."""
        B, S, _ = memory_BSM.shape
        keys, values = self.answer(memory_BSM).reshape(B, S, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return keys, values

    def forward(
        self, x_NLD: Tensor, before: tuple[Tensor, Tensor] | None, pair: tuple[Tensor, Tensor], mask_AS: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The next units, after those `before`; the N / A hypotheses of a row of the memory lie side by side."""
        N, L, D = x_NLD.shape
        query, key, value = self.qkv(self.norms[0](x_NLD)).reshape(N, L, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if before is not None:
            key, value = torch.cat([before[0], key], 2), torch.cat([before[1], value], 2)
        own = F.scaled_dot_product_attention(query, key, value, is_causal=L > 1)
        x_NLD = x_NLD + self.dropout(self.out(own.transpose(1, 2).reshape(N, L, D)))
        A = mask_AS.shape[0]
        query = self.ask(self.norms[1](x_NLD)).reshape(A, N // A * L, self.heads, -1).transpose(1, 2)
        seen = F.scaled_dot_product_attention(query, *pair, attn_mask=mask_AS[:, None, None, :])
        x_NLD = x_NLD + self.dropout(self.found(seen.transpose(1, 2).reshape(N, L, D)))
        gate, up = self.up(self.norms[2](x_NLD)).chunk(2, dim=-1)
        return x_NLD + self.dropout(self.down(F.relu(gate) * up)), (key, value)


class Writer(nn.Module):
    """Memory [B, S, M] and units -> log-probabilities of the units that come next."""

    def __init__(self, sizes: Sizes, dropout: float = 0.0) -> None:
        super().__init__()
        self.sizes = sizes
        self.embed = nn.Embedding(sizes.units, sizes.dim)
        nn.init.normal_(self.embed.weight, std=sizes.dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(sizes.units))
        self.norm_memory = nn.LayerNorm(sizes.memory)
        self.layers = nn.ModuleList([Layer(sizes, dropout) for _ in range(sizes.layers)])
        self.norm = nn.LayerNorm(sizes.dim)
        self.dropout = nn.Dropout(dropout)
        self.frames = nn.Linear(sizes.memory, sizes.units) if sizes.frames else None
        self.kept: tuple[Writer, ...] = ()
        """The copy that was last kept of it, if any."""

    def begin(self, memory_BSM: Tensor, mask_BS: Tensor) -> Begun:
        """What holds the memory's keys, once a row, and writes from there."""
        memory = self.norm_memory(memory_BSM)
        return Begun(self, [layer.pair(memory) for layer in self._each], mask_BS)

    def forward(self, memory_BSM: Tensor, mask_BS: Tensor, units_BL: Tensor) -> Tensor:
        """Logits [B, L, V] of what follows each of the units, of which the first is EDGE."""
        return self._next(units_BL, None, self.begin(memory_BSM, mask_BS).pairs, mask_BS)[0]

    def read(self, memory_BSM: Tensor) -> Tensor:
        """Log-probabilities [B, S, V] of the tokens for CTC, in float32."""
        assert self.frames is not None
        read: Tensor = self.frames(self.dropout(self.norm_memory(memory_BSM))).float().log_softmax(-1)
        return read

    def next(self, last_N: Tensor, cache: Cache | None, pairs: Sequence[tuple[Tensor, Tensor]], mask_AS: Tensor) -> Any:
        """Logits [N, V] after the last units, and the cache that holds these too."""
        logits, grown = self._next(last_N[:, None], cache, pairs, mask_AS)
        return logits[:, 0], grown

    @property
    def _each(self) -> list[Layer]:
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def _next(
        self, units_NL: Tensor, cache: Cache | None, pairs: Sequence[tuple[Tensor, Tensor]], mask_AS: Tensor
    ) -> tuple[Tensor, Cache]:
        start = cache[0][0].shape[2] if cache else 0
        dim = self.sizes.dim
        x = self.embed(units_NL) * math.sqrt(dim) + _waves(start, units_NL.shape[1], dim, units_NL.device)
        x, grown = self.dropout(x), []
        for place, layer in enumerate(self._each):
            x, own = layer(x, cache[place] if cache else None, pairs[place], mask_AS)
            grown.append(own)
        return F.linear(self.norm(x), self.embed.weight, self.bias).float(), tuple(grown)


class Follows(Protocol):
    """What gives the units that come next, after a cache of those before."""

    def next(self, last_N: Tensor, cache: Cache | None, pairs: Sequence[tuple[Tensor, Tensor]], mask_AS: Tensor) -> Any:
        """As `Writer.next` does."""


@dataclass
class Begun:
    """A writer before the memory of some rows: see `beam.Stepper`."""

    writer: Follows
    pairs: list[tuple[Tensor, Tensor]]
    """Of each layer the keys and values of the memory, [B, H, S, D / H]."""
    mask: Tensor
    """bool [B, S]"""
    temperature: Tensor | None = None

    def __post_init__(self) -> None:
        self._rows = torch.arange(self.mask.shape[0], device=self.mask.device)
        self._chosen = (self.pairs, self.mask)

    def step(self, last_N: Tensor, rows_A: Tensor, state: Cache | None) -> tuple[Tensor, Cache]:
        """Log-probabilities [N, V] of the next units."""
        if not torch.equal(rows_A, self._rows):
            self._rows = rows_A
            self._chosen = ([(keys[rows_A], values[rows_A]) for keys, values in self.pairs], self.mask[rows_A])
        logits, grown = self.writer.next(last_N, state, *self._chosen)
        return (logits if self.temperature is None else logits / self.temperature).log_softmax(-1), grown

    def reorder(self, state: Cache, index_M: Tensor) -> Cache:
        return tuple((keys[index_M], values[index_M]) for keys, values in state)


@dataclass(frozen=True)
class Together:
    """Several writers of the same units before the same rows, whose probabilities are averaged at each step."""

    each: Sequence[Begun]
    log_shares: Sequence[Tensor]

    def step(self, last_N: Tensor, rows_A: Tensor, state: tuple[Cache, ...] | None) -> tuple[Tensor, tuple[Cache, ...]]:
        own = [begun.step(last_N, rows_A, state[place] if state else None) for place, begun in enumerate(self.each)]
        return mixed([log_probs for log_probs, _ in own], self.log_shares), tuple(cache for _, cache in own)

    def reorder(self, state: tuple[Cache, ...], index_M: Tensor) -> tuple[Cache, ...]:
        return tuple(begun.reorder(own, index_M) for begun, own in zip(self.each, state, strict=True))


def mixed(log_probs: Sequence[Tensor], log_shares: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean of probabilities, each with its share."""
    if len(log_probs) == 1:
        return log_probs[0]
    return torch.stack([own + share for own, share in zip(log_probs, log_shares, strict=True)]).logsumexp(0)


def _waves(start: int, steps: int, dim: int, device: torch.device) -> Tensor:
    """[L, D]: sines and cosines of the places from `start` on (Vaswani 2017, section 3.5)."""
    rates = torch.exp(torch.arange(0, dim, 2, device=device) * (-math.log(10_000.0) / dim))
    angles = torch.arange(start, start + steps, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
