"""Layers that several architectures are built of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.layers.starting import drawn


class Projections(nn.Module):
    """Each column's features, normalised and brought to one width: [B, D_m] for all m -> [B, M, H].

    P_m LN(x_m). Parameters: sum_m (2 D_m + (D_m + 1) H).
    """

    def __init__(self, dims: Sequence[int], hidden: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for dim in dims])
        self.linears = nn.ModuleList([nn.Linear(dim, hidden) for dim in dims])
        self.dropout = nn.Dropout(dropout)

    @staticmethod
    def parameter_formula(dims: Iterable[int], hidden: int) -> int:
        return sum(2 * dim + (dim + 1) * hidden for dim in dims)

    def forward(self, pooled: Sequence[Tensor]) -> Tensor:
        parts = [linear(self.dropout(norm(x))) for linear, norm, x in zip(self.linears, self.norms, pooled, strict=True)]
        return torch.stack(parts, 1)


class TokenProjections(nn.Module):
    """Each column's tokens, normalised, brought to one width and marked with their column: [B, S, H], S the tokens of all.

    P_m LN(t) + e_m. Parameters: sum_m (2 D_m + (D_m + 1) H) + M H.
    """

    def __init__(self, dims: Sequence[int], hidden: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for dim in dims])
        self.linears = nn.ModuleList([nn.Linear(dim, hidden) for dim in dims])
        self.column = nn.Parameter(drawn(len(dims), hidden, std=0.1))
        self.dropout = nn.Dropout(dropout)

    @staticmethod
    def parameter_formula(dims: Sequence[int], hidden: int) -> int:
        return Projections.parameter_formula(dims, hidden) + len(dims) * hidden

    def forward(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """[B, T_m, H] of each column."""
        return [
            linear(self.dropout(norm(x))) + own
            for linear, norm, x, own in zip(self.linears, self.norms, tokens, self.column, strict=True)
        ]


class TransformerBlock(nn.Module):
    """Self-attention, then a feed-forward layer with a gate, each after a LayerNorm and around a shortcut.

    Vaswani et al. 2017, pre-norm as in Xiong et al. 2020, ReGLU as in Shazeer 2020. Parameters, with D = dim and E = 4 D / 3:
    4 D^2 + 9 D + 3 D E + 2 E.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        inner = dim * 4 // 3
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 2 * inner)
        self.down = nn.Linear(inner, dim)
        self.dropout = nn.Dropout(dropout)

    @staticmethod
    def parameter_formula(dim: int) -> int:
        inner = dim * 4 // 3
        return 4 * dim * dim + 4 * dim + 3 * dim * inner + 2 * inner + dim + 4 * dim

    def forward(self, tokens_BTD: Tensor, mask_BT: Tensor) -> Tensor:
        B, T, D = tokens_BTD.shape
        qkv = self.qkv(self.norm1(tokens_BTD)).reshape(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=mask_BT[:, None, None, :])
        tokens_BTD = tokens_BTD + self.dropout(self.out(attended.transpose(1, 2).reshape(B, T, D)))
        gate, value = self.up(self.norm2(tokens_BTD)).chunk(2, dim=-1)
        result: Tensor = tokens_BTD + self.dropout(self.down(F.relu(gate) * value))
        return result


class CrossAttention(nn.Module):
    """Tokens ask other tokens, then a feed-forward layer with a gate, each after a LayerNorm and around a shortcut.

    As `TransformerBlock`, keys and values coming from elsewhere. Parameters, with D = dim and E = 4 D / 3: 4 D^2 + 11 D + 3 D E
    + 2 E. A row with nothing to ask keeps its tokens, up to the feed-forward layer.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        inner = dim * 4 // 3
        self.norm1 = nn.LayerNorm(dim)
        self.norm_source = nn.LayerNorm(dim)
        self.ask = nn.Linear(dim, dim)
        self.answer = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, 2 * inner)
        self.down = nn.Linear(inner, dim)
        self.dropout = nn.Dropout(dropout)

    @staticmethod
    def parameter_formula(dim: int) -> int:
        return TransformerBlock.parameter_formula(dim) + 2 * dim

    def forward(self, tokens_BTD: Tensor, source_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        B, T, D = tokens_BTD.shape
        H = self.heads
        query = self.ask(self.norm1(tokens_BTD)).reshape(B, T, H, D // H).transpose(1, 2)
        pair = self.answer(self.norm_source(source_BSD)).reshape(B, -1, 2, H, D // H).permute(2, 0, 3, 1, 4)
        none = ~mask_BS.any(1)
        usable = mask_BS | none[:, None]
        attended = F.scaled_dot_product_attention(query, pair[0], pair[1], attn_mask=usable[:, None, None, :])
        change = self.dropout(self.out(attended.transpose(1, 2).reshape(B, T, D)))
        tokens_BTD = tokens_BTD + change.masked_fill(none[:, None, None], 0.0)
        gate, value = self.up(self.norm2(tokens_BTD)).chunk(2, dim=-1)
        result: Tensor = tokens_BTD + self.dropout(self.down(F.relu(gate) * value))
        return result


def masked_mean(tokens_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """[B, D]: the mean of the real tokens; zeros where there are none."""
    weights = mask_BT.to(tokens_BTD.dtype)[..., None]
    return (tokens_BTD * weights).sum(1) / weights.sum(1).clamp(min=1)


def bounded_tokens(tokens_BTD: Tensor, mask_BT: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """At most `limit` tokens a row, [B, limit, D]: longer rows are averaged over `limit` runs of nearly equal length."""
    rows, _, width = tokens_BTD.shape
    place = mask_BT.cumsum(1) - 1
    length = mask_BT.sum(1, keepdim=True)
    run = torch.where(length > limit, place * limit // length.clamp(min=1), place)
    run = torch.where(mask_BT, run, limit)  # padding goes to a run of its own, which is cut off
    sums = tokens_BTD.new_zeros(rows, limit + 1, width).scatter_add_(1, run[..., None].expand_as(tokens_BTD), tokens_BTD)
    counts = tokens_BTD.new_zeros(rows, limit + 1).scatter_add_(1, run, torch.ones_like(run, dtype=tokens_BTD.dtype))
    return (sums / counts.clamp(min=1)[..., None])[:, :limit], counts[:, :limit] > 0


def lay_out(module: nn.Module, channels_last: bool = True) -> None:
    """Lays the weights of convolutions over pictures, [O, I, H, W], out with their channels last, or as they are written. Those
    over clips, [O, I, T, H, W], have another layout for that, and stay as they are."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=layout)
