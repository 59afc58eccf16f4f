"""Layers over a form: numbers encoded piecewise, categories embedded, all read by one linear layer or as tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.layers.starting import drawn
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
        x_BN1 = numbers_BN.nan_to_num().clamp(-30.0, 30.0)[..., None]
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
        self.weight = nn.Parameter(drawn(numbers, 1 + bins, dim, std=(1 + bins) ** -0.5))
        self.bias = nn.Parameter(torch.zeros(numbers, dim))
        self.table = nn.Parameter(drawn(sum(field.categories for field in fields), dim, std=0.5))
        self.missing = nn.Parameter(drawn(len(fields), dim, std=0.5))

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
        self.weight = nn.Parameter(drawn(numbers * (1 + bins), dim, std=scale))
        self.table = nn.Parameter(drawn(categories, dim, std=scale))
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
