"""What ONNX says for operators of PyTorch that its exporter knows only taken apart, and for mmcli's own.

With them a traced model is translated as it is. To take it apart first, the exporter traces it twice again, which is two thirds
of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmcli.layers import norms, recurrent  # noqa: F401 - their operators, which are looked up by name
from mmcli.pretrained.hub import need


def _op() -> Any:
    return need("onnxscript", "ONNX", extra="export").opset18


def recurrent_layer(values: Any, inner: Any, across: Any, bias: Any, lengths: Any, hidden: int, lstm: bool) -> Any:
    """`layers.recurrent`'s operator as ONNX's own operator, which knows lengths."""
    op = _op()
    run = op.LSTM if lstm else op.GRU
    options: dict[str, Any] = {"hidden_size": hidden, "direction": "bidirectional" if inner.shape[0] == 2 else "forward"}
    options |= {} if lstm else {"linear_before_reset": 1}
    found = run(values, inner, across, bias, op.Cast(lengths, to=6), **options)
    return found[0], found[1]


def both(left: Any, right: Any) -> Any:
    """`&` of truths; of numbers it is another operator, for which the model is taken apart."""
    return _op().And(*map(_truths, (left, right)))


def either(left: Any, right: Any) -> Any:
    """`|` of truths."""
    return _op().Or(*map(_truths, (left, right)))


def _truths(values: Any) -> Any:
    if values.dtype != _types().BOOL:
        raise TypeError("these are not truths")
    return values


def nan_to_num(values: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Any:
    """Numbers for what are none, and the largest there are for those without end."""
    if values.dtype != _types().FLOAT or posinf is not None or neginf is not None:
        raise TypeError("these are not numbers in float32, or have other ends")
    op, most = _op(), torch.finfo(torch.float32).max
    there = op.Where(op.IsNaN(values), op.Constant(value_float=nan or 0.0), values)
    return op.Clip(there, op.Constant(value_float=-most), op.Constant(value_float=most))


def cast(values: Any, dtype: int, non_blocking: bool = False, copy: bool = False, memory_format: Any = None) -> Any:
    """As numbers of another type."""
    del non_blocking, copy, memory_format
    return _op().Cast(values, to=dtype)


def laid_out(values: Any, dtype: int | None = None, **options: Any) -> Any:
    """As numbers of another type, wherever they lie."""
    del options
    return values if dtype is None else _op().Cast(values, to=dtype)


def square(values: Any) -> Any:
    """Each number times itself."""
    return _op().Mul(values, values)


def rsub(values: Any, other: float, alpha: float = 1.0) -> Any:
    """A number less each."""
    op = _op()
    taken = values if alpha == 1 else op.Mul(values, op.CastLike(op.Constant(value_float=float(alpha)), values))
    return op.Sub(op.CastLike(op.Constant(value_float=float(other)), values), taken)


def turned(values: Any) -> Any:
    """Rows and columns the other way round."""
    return _op().Transpose(values, perm=[1, 0])


def gru_cell(values: Any, state: Any, inner: Any, across: Any, inner_bias: Any, across_bias: Any) -> Any:
    """One step of a GRU, its gates reset, update and new."""
    op = _op()
    reset, update, new = op.Split(op.Gemm(values, inner, inner_bias, transB=1), axis=1, num_outputs=3)
    reset_h, update_h, new_h = op.Split(op.Gemm(state, across, across_bias, transB=1), axis=1, num_outputs=3)
    share = op.Sigmoid(op.Add(update, update_h))
    found = op.Tanh(op.Add(new, op.Mul(op.Sigmoid(op.Add(reset, reset_h)), new_h)))
    return op.Add(found, op.Mul(share, op.Sub(state, found)))


def count(values: Any) -> Any:
    """How many numbers there are."""
    return _op().Size(values)


def flatten(values: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Dimensions as one, though there be none of some: the exporter's own words leave a size to be worked out, which of nothing
    cannot be."""
    op, rank = _op(), len(values.shape)
    start, end = start_dim % rank, end_dim % rank + 1
    one = op.ReduceProd(op.Shape(values, start=start, end=end), keepdims=1)
    shape = op.Concat(op.Shape(values, start=0, end=start), one, op.Shape(values, start=end, end=rank), axis=0)
    return op.Reshape(values, shape, allowzero=1)


def batch_norm(
    values: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float, cudnn: bool
) -> Any:
    """By the statistics that were learnt."""
    del momentum, cudnn
    if training:
        raise TypeError("statistics of the batch itself have no word")
    return _op().BatchNormalization(values, weight, bias, mean, var, epsilon=eps)


def layer_norm(values: Any, weight: Any, bias: Any, eps: float) -> Any:
    """Over the last dimension, in one piece."""
    return _op().LayerNormalization(values, weight, bias, axis=-1, epsilon=eps)[0]


def learnt_batch_norm(values: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float) -> Any:
    """By the statistics that were learnt, in one piece."""
    return _op().BatchNormalization(values, weight, bias, mean, var, epsilon=eps)


def average_pool(values: Any, size: Sequence[int]) -> Any:
    """Means of the cells of pictures [..., H, W], which overlap where they are not equal."""
    op, sides = _op(), list(values.shape)[-2:]
    if values.dtype not in {_types().FLOAT, _types().DOUBLE}:
        raise TypeError("ONNX Runtime takes no such sums of numbers in half precision")
    if list(size) == [1, 1]:
        return op.ReduceMean(values, _constant(torch.tensor([-2, -1])), keepdims=1)
    cells = [side // own for side, own in zip(sides, size, strict=True)]
    if len(values.shape) == 4 and all(side == cell * own for side, cell, own in zip(sides, cells, size, strict=True)):
        return op.AveragePool(values, kernel_shape=cells, strides=cells)
    down, across = (op.CastLike(_constant(_shares(side, own)), values) for side, own in zip(sides, size, strict=True))
    return op.Einsum(down, values, across, equation="ih,...hw,jw->...ij")


def _shares(side: int, cells: int) -> Tensor:
    """What each of so many places weighs in each cell [cells, side]."""
    shares = torch.zeros(cells, side)
    for cell in range(cells):
        start, end = cell * side // cells, -((-cell - 1) * side // cells)
        shares[cell, start:end] = 1 / (end - start)
    return shares


def _types() -> Any:
    return need("onnx_ir", "ONNX", extra="export").DataType


def _constant(values: Tensor) -> Any:
    return _op().Constant(value=need("onnx_ir", "ONNX", extra="export").tensor(values.numpy()))


def one_hot(values: Any, classes: int) -> Any:
    """Of each number from 0 as many 0 and 1 as there are classes."""
    if classes < 1 or not values.shape:
        raise TypeError("there is no word for a number alone, nor for classes that are not told")
    return _op().OneHot(values, _constant(torch.tensor([classes])), _constant(torch.tensor([0, 1])))


def diff(values: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """What each place along a dimension is more than the one before."""
    if n != 1 or prepend is not None or append is not None or values.dtype == _types().BOOL:
        raise TypeError("there is a word for the difference of neighbours alone")
    op, axis = _op(), torch.tensor([dim % len(values.shape)])
    one, end, last = (_constant(torch.tensor([place])) for place in (1, torch.iinfo(torch.int64).max, -1))
    later = op.Slice(values, one, end, _constant(axis))
    return op.Sub(later, op.Slice(values, _constant(torch.tensor([0])), last, _constant(axis)))


def index_copy(values: Any, dim: int, index: Any, source: Any) -> Any:
    """Rows put in along a dimension."""
    op, rank = _op(), len(values.shape)
    first = [dim % rank, *(place for place in range(rank) if place != dim % rank)]
    back = [first.index(place) for place in range(rank)]
    found = op.ScatterND(op.Transpose(values, perm=first), op.Unsqueeze(index, [-1]), op.Transpose(source, perm=first))
    return op.Transpose(found, perm=back)


def own() -> Mapping[Callable[..., Any], Callable[..., Any]]:
    """Operator -> its translation."""
    aten = torch.ops.aten
    return {
        torch.ops.mmcli.recurrent_layer.default: recurrent_layer,
        torch.ops.mmcli.layer_norm.default: layer_norm,
        torch.ops.mmcli.batch_norm.default: learnt_batch_norm,
        aten.__and__.Tensor: both,
        aten.__or__.Tensor: either,
        aten.to.dtype: cast,
        aten.to.dtype_layout: laid_out,
        aten.flatten.using_ints: flatten,
        aten.sym_numel.default: count,
        aten.square.default: square,
        aten.rsub.Scalar: rsub,
        aten.numpy_T.default: turned,
        aten.gru_cell.default: gru_cell,
        aten.nan_to_num.default: nan_to_num,
        aten.batch_norm.default: batch_norm,
        aten.index_copy.default: index_copy,
        aten.adaptive_avg_pool2d.default: average_pool,
        aten.diff.default: diff,
        aten.one_hot.default: one_hot,
    }


def needed() -> Mapping[Callable[..., Any], Callable[..., Any]]:
    """Those of `own` without which a graph that was taken apart has no words, or the exporter's wrong ones."""
    flat = torch.ops.aten.flatten.using_ints
    return {target: word for target, word in own().items() if target is flat or getattr(target, "namespace", "") == "mmcli"}
