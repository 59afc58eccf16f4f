"""An ONNX file that gives a vector for each picture, as a published network for faces would: means of squares, mixed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

DIM, CELLS = 6, 4
MIX = np.random.default_rng(5).normal(size=(3 * CELLS * CELLS, DIM)).astype(np.float32)


def write(path: Path, side: int | str = 32, batch: int | str = "batch", last: bool = False, licence: str = "") -> Path:
    """Pictures [B, 3, side, side], or with colours last; of any side, the means of the whole picture."""
    from onnx import TensorProto, helper, numpy_helper

    taken = [batch, side, side, 3] if last else [batch, 3, side, side]
    cells = CELLS if isinstance(side, int) else 1
    how = {"kernel_shape": [side // CELLS] * 2, "strides": [side // CELLS] * 2} if isinstance(side, int) else {}
    nodes = [
        helper.make_node("Transpose", ["data"], ["first"], perm=[0, 3, 1, 2] if last else [0, 1, 2, 3]),
        helper.make_node("AveragePool" if how else "GlobalAveragePool", ["first"], ["cells"], **how),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("MatMul", ["flat", "mix"], ["fc1"]),
    ]
    outputs = [
        helper.make_tensor_value_info("cells", TensorProto.FLOAT, [batch, 3, cells, cells]),
        helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [batch, DIM]),
    ]
    inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, taken)]
    graph = helper.make_graph(nodes, "faces", inputs, outputs, [numpy_helper.from_array(MIX[: 3 * cells * cells], "mix")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"license": licence} if licence else {})
    path.write_bytes(model.SerializeToString())
    return path


def vectors(grid_BCHW: np.ndarray, cells: int = CELLS) -> np.ndarray:  # type: ignore[type-arg]
    """[B, DIM] of the same, in numpy."""
    rows, _, height, width = grid_BCHW.shape
    means = grid_BCHW.reshape(rows, 3, cells, height // cells, cells, width // cells).mean((3, 5))
    made: np.ndarray = means.reshape(rows, -1) @ MIX[: 3 * cells * cells]  # type: ignore[type-arg]
    return made
