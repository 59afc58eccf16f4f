"""Layers that several architectures are built of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


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
        self.column = nn.Parameter(torch.randn(len(dims), hidden) * 0.1)
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


class ResidualBlock(nn.Module):
    """Normalise, activate, convolve, twice, around a shortcut (He 2016). `keep` [B, 1, 1, W] blanks what is padding."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        self.stride = stride
        changes = inner != outer or stride != 1
        # Strided by taking every second pixel first: the same values. A 1x1 convolution of stride 2 over channels-last batches
        # of odd size corrupts memory in the backward pass of oneDNN (torch 2.15, two threads or more).
        self.shortcut = nn.Conv2d(inner, outer, 1, bias=False) if changes else nn.Identity()

    def forward(self, grid: Tensor, keep: Tensor | None = None, keep_after: Tensor | None = None) -> Tensor:
        active = _kept(F.relu(self.norm1(grid)), keep)
        hidden: Tensor = self.conv2(_kept(F.relu(self.norm2(self.conv1(active))), keep_after))
        passed = active[..., :: self.stride, :: self.stride] if isinstance(self.shortcut, nn.Conv2d) else grid
        shortcut: Tensor = self.shortcut(passed)
        return _kept(hidden + shortcut, keep_after)


class ResidualStack(nn.Module):
    """A convolution of stride 2, then stages of residual blocks, each stage but the first of stride 2 and twice as wide."""

    def __init__(self, channels: int, width: int, stages: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False)
        layers, inner = [], width
        for stage in range(stages):
            for block in range(blocks):
                layers.append(ResidualBlock(inner, width * 2**stage, stride=2 if stage and not block else 1))
                inner = width * 2**stage
        self.blocks = nn.ModuleList(layers)
        self.norm = nn.BatchNorm2d(inner)

    @staticmethod
    def parameter_formula(channels: int, width: int, stages: int, blocks: int) -> int:
        total: int = 9 * channels * width
        inner: int = width
        for stage in range(stages):
            outer: int = width * 2**stage
            for _ in range(blocks):
                total += 9 * inner * outer + 9 * outer * outer + 2 * (inner + outer) + (inner != outer) * inner * outer
                inner = outer
        return total + 2 * inner

    def forward(self, grid: Tensor) -> Tensor:
        hidden = self.stem(grid)
        for block in self.blocks:
            hidden = block(hidden)
        return F.relu(self.norm(hidden))

    def masked(self, grid: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same where row i has only `lengths[i]` columns of its own: the feature map, and the lengths in it."""
        lengths = (lengths + 1) // 2
        hidden = _kept(self.stem(grid), _columns(lengths, (grid.shape[-1] + 1) // 2))
        for block in self.blocks:
            assert isinstance(block, ResidualBlock)
            before = _columns(lengths, hidden.shape[-1])
            lengths = (lengths + block.stride - 1) // block.stride
            hidden = block(hidden, before, _columns(lengths, (hidden.shape[-1] + block.stride - 1) // block.stride))
        return _kept(F.relu(self.norm(hidden)), _columns(lengths, hidden.shape[-1])), lengths


def _columns(lengths: Tensor, width: int) -> Tensor:
    return (torch.arange(width, device=lengths.device) < lengths[:, None])[:, None, None]


def _kept(grid: Tensor, keep: Tensor | None) -> Tensor:
    return grid if keep is None else grid * keep.to(grid.dtype)


def recurrent(network: nn.LSTM | nn.GRU, values_BTD: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Padded sequences through an LSTM or GRU, each by its true length: states [B, T, directions x hidden], zero beyond it,
    and the last ones [layers x directions, B, hidden]."""
    if torch.compiler.is_exporting():
        return _recurrent_in_a_graph(network, values_BTD, lengths)
    packed = pack_padded_sequence(values_BTD, lengths.cpu(), batch_first=True, enforce_sorted=False)
    states, last = network(packed)
    states_BTD, _ = pad_packed_sequence(states, batch_first=True, total_length=values_BTD.shape[1])
    return states_BTD, last[0] if isinstance(last, tuple) else last


@torch.library.custom_op("mmcli::recurrent_layer", mutates_args=())
def recurrent_layer(
    values_TBD: Tensor, inner: Tensor, across: Tensor, bias: Tensor, lengths: Tensor, hidden: int, lstm: bool
) -> tuple[Tensor, Tensor]:
    """One layer as ONNX defines its LSTM and GRU, in a graph that is to become ONNX: states [T, directions, B, hidden] and the
    last ones [directions, B, hidden]. It is run by nothing else: traced, a layer would be unrolled, step by step."""
    raise NotImplementedError("a recurrent layer in a graph is for ONNX alone")


@recurrent_layer.register_fake
def _(
    values_TBD: Tensor, inner: Tensor, across: Tensor, bias: Tensor, lengths: Tensor, hidden: int, lstm: bool
) -> tuple[Tensor, Tensor]:
    del across, bias, lengths, lstm
    steps, rows, directions = values_TBD.shape[0], values_TBD.shape[1], inner.shape[0]
    return values_TBD.new_empty(steps, directions, rows, hidden), values_TBD.new_empty(directions, rows, hidden)


def _recurrent_in_a_graph(network: nn.LSTM | nn.GRU, states_BTD: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The gates in the order of ONNX: of an LSTM input, output, forget, cell; of a GRU update, reset, new."""
    lstm, last = isinstance(network, nn.LSTM), []
    order = [0, 3, 1, 2] if lstm else [1, 0, 2]
    for layer in range(network.num_layers):
        ways: dict[str, list[Tensor]] = {"weight_ih": [], "weight_hh": [], "bias_ih": [], "bias_hh": []}
        for direction in ("", "_reverse") if network.bidirectional else ("",):
            for name, own in ways.items():
                gates = getattr(network, f"{name}_l{layer}{direction}").chunk(len(order))
                own.append(torch.cat([gates[place] for place in order]))
        bias = torch.cat([torch.stack(ways["bias_ih"]), torch.stack(ways["bias_hh"])], 1)
        inner, across = torch.stack(ways["weight_ih"]), torch.stack(ways["weight_hh"])
        states_TEBH, end = recurrent_layer(
            states_BTD.transpose(0, 1).contiguous(), inner, across, bias, lengths, network.hidden_size, lstm
        )
        states_BTD = states_TEBH.permute(2, 0, 1, 3).flatten(2)
        last.append(end)
    return states_BTD, torch.cat(last)
