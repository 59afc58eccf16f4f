"""Layers that several architectures are built of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mmcli.signals import Column, Field


class NumberEncoding(nn.Module):
    """Numbers [B, N] -> each as it is and piecewise linearly, [B, N, 1 + bins]; zeros where missing. `learn` before use.

    Piecewise over quantiles of the train split (Gorishniy, Rubachev and Babenko 2022, "On Embeddings for Numerical Features",
    equation 1), b the edges of the bins:

        e_0 = x;  e_t = clip((x - b_{t-1}) / (b_t - b_{t-1}), 0, 1)

    The outermost e_t go on for two widths beyond the train split's range, so that extremes keep their order.
    """

    def __init__(self, numbers: int, bins: int) -> None:
        super().__init__()
        self.bins = bins
        self.low: Tensor
        self.width: Tensor
        self.floor: Tensor
        self.ceiling: Tensor
        for name, value in (("low", 0.0), ("width", 1.0), ("floor", 0.0), ("ceiling", 1.0)):
            self.register_buffer(name, torch.full((numbers, bins), value))

    def learn(self, train_NF: Tensor) -> None:
        """Edges at quantiles of the train rows; a number of few values has fewer bins, the others giving nothing."""
        quantiles = torch.linspace(0, 1, self.bins + 1, dtype=torch.float64)
        for place, column in enumerate(train_NF.double().cpu().unbind(1)):
            values = column[~column.isnan()][:1_000_000]
            edges = torch.quantile(values, quantiles).unique() if len(values) else values.new_zeros(1)
            if len(edges) == 1:
                edges = torch.cat([edges, edges + 1])
            found = len(edges) - 1
            self.low[place, :found] = edges[:-1].float()
            self.width[place, :found] = edges.diff().float()
            self.ceiling[place, found:] = 0.0
            self.floor[place, 0] = -2.0
            self.ceiling[place, found - 1] = 3.0

    def forward(self, numbers_BN: Tensor) -> Tensor:
        x_BN1 = numbers_BN.nan_to_num().clamp(-30, 30)[..., None]
        share_BNT = torch.minimum(torch.maximum((x_BN1 - self.low) / self.width, self.floor), self.ceiling)
        return torch.cat([x_BN1, share_BNT], -1).masked_fill(numbers_BN.isnan()[..., None], 0.0)


class Fields(nn.Module):
    """What layers over a form share: where its numbers and its categories stand, and how numbers are encoded."""

    def __init__(self, fields: tuple[Field, ...], bins: int) -> None:
        super().__init__()
        sizes = [field.categories for field in fields if field.categories]
        number_at = [place for place, field in enumerate(fields) if not field.categories]
        category_at = [place for place, field in enumerate(fields) if field.categories]
        starts = [sum(sizes[:place]) for place in range(len(sizes))]
        self.number_at: Tensor
        self.category_at: Tensor
        self.starts: Tensor
        for name, places in (("number_at", number_at), ("category_at", category_at), ("starts", starts)):
            self.register_buffer(name, torch.tensor(places, dtype=torch.int64), persistent=False)
        self.numbers = NumberEncoding(len(number_at), bins)

    def learn_bins(self, column: Column) -> None:
        """The bins of the numbers, from the train rows."""
        self.numbers.learn(column.values[:, self.number_at.to(column.values.device)])

    def encoded(self, fields_BF: Tensor) -> Tensor:
        """The encodings of the numbers: [B, N, 1 + bins]."""
        encoded: Tensor = self.numbers(fields_BF[:, self.number_at])
        return encoded

    def ids(self, fields_BF: Tensor) -> Tensor:
        """Rows of a table of all categories, one after the other: int64 [B, C]; of a missing cell any."""
        return fields_BF[:, self.category_at].nan_to_num().long() + self.starts


class FieldEmbedding(Fields):
    """Fields [B, F] -> an embedding for each number, category or missing cell, [B, F, dim]. `learn_bins` before use.

    Numbers, encoded by `NumberEncoding`, are projected each by itself: relu(W_f e + c_f).
    """

    def __init__(self, fields: tuple[Field, ...], dim: int, bins: int) -> None:
        super().__init__(fields, bins)
        numbers = len(self.number_at)
        self.weight = nn.Parameter(torch.randn(numbers, 1 + bins, dim) * (1 + bins) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(numbers, dim))
        self.table = nn.Parameter(torch.randn(sum(field.categories for field in fields), dim) * 0.5)
        self.missing = nn.Parameter(torch.randn(len(fields), dim) * 0.5)

    @staticmethod
    def parameter_formula(fields: tuple[Field, ...], dim: int, bins: int) -> int:
        numbers = sum(not field.categories for field in fields)
        return dim * (numbers * (bins + 2) + sum(field.categories for field in fields) + len(fields))

    def forward(self, fields_BF: Tensor) -> Tensor:
        embedded_BFD = self.missing.new_zeros(*fields_BF.shape, self.missing.shape[1])
        if len(self.number_at):
            numbers = F.relu(torch.einsum("bnt,ntd->bnd", self.encoded(fields_BF), self.weight) + self.bias)
            embedded_BFD = embedded_BFD.index_copy(1, self.number_at, numbers.float())
        if len(self.category_at):
            embedded_BFD = embedded_BFD.index_copy(1, self.category_at, self.table[self.ids(fields_BF)])
        return torch.where(fields_BF.isnan()[..., None], self.missing, embedded_BFD)


class FieldLinear(Fields):
    """Fields [B, F] -> [B, dim]: a linear layer over encoded numbers, categories as indicators, and what is missing.

        y = c + sum_numbers W_f e_f + sum_categories V_f[id_f] + sum_missing m_f

    The sum over indicators is a sum of rows of a table, so that many categories cost no more than few. `learn_bins` before use.
    """

    def __init__(self, fields: tuple[Field, ...], dim: int, bins: int) -> None:
        super().__init__(fields, bins)
        numbers, categories = len(self.number_at), sum(field.categories for field in fields)
        scale = 0.6 * max(numbers * (1 + bins) + categories, 1) ** -0.5
        self.weight = nn.Parameter(torch.randn(numbers * (1 + bins), dim) * scale)
        self.table = nn.Parameter(torch.randn(categories, dim) * scale)
        self.missing = nn.Parameter(torch.zeros(len(fields), dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    @staticmethod
    def parameter_formula(fields: tuple[Field, ...], dim: int, bins: int) -> int:
        numbers = sum(not field.categories for field in fields)
        return dim * (numbers * (bins + 1) + sum(field.categories for field in fields) + len(fields) + 1)

    def forward(self, fields_BF: Tensor) -> Tensor:
        absent_BF = fields_BF.isnan()
        sums: Tensor = absent_BF.to(self.missing.dtype) @ self.missing + self.bias
        if len(self.number_at):
            sums = sums + self.encoded(fields_BF).flatten(1) @ self.weight
        if len(self.category_at):
            rows = self.table[self.ids(fields_BF)].masked_fill(absent_BF[:, self.category_at, None], 0.0)
            sums = sums + rows.sum(1)
        return sums


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
