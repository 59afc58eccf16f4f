"""An ONNX file with YuNet's outputs that sees red squares of 16, 32 and 64 pixels, since no real weights are to be had here."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from mmcli.media.faces import TEMPLATE, TEMPLATE_SIDE

PLACES = np.array(TEMPLATE / TEMPLATE_SIDE)
"""Where it says that the landmarks are, in shares of the square."""


def write(path: Path, side: int | str = "side", lacking: str = "", licence: str = "") -> Path:
    """A stride sees squares twice its size, centred on a cell: how red the square is, less how red it is around it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants = {
        "scale": np.array(1 / 255, dtype=np.float32),
        "none": np.array([0.0], dtype=np.float32),
        "flat": np.array([1, -1, 1], dtype=np.int64),
        "one": np.array(1.0, dtype=np.float32),
        "zero": np.array(0.0, dtype=np.float32),
        "four": np.array(4 / 3, dtype=np.float32),
        "box": np.array([[[0.5, 0.5, math.log(2), math.log(2)]]], dtype=np.float32),
        "kps": (2 * PLACES - 0.5).reshape(1, 1, 10).astype(np.float32),
    }

    def add(kind: str, inputs: list[str], output: str, **how: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **how))
        return output

    nodes.append(helper.make_node("Split", ["input"], ["blue", "green", "red"], axis=1, num_outputs=3))
    redness = add("Mul", [add("Relu", [add("Sub", ["red", "green"], "more")], "positive"), "scale"], "redness")
    for stride in (8, 16, 32):
        pools = []
        for times in (2, 4):
            pad = (times - 1) * stride // 2
            how = {"kernel_shape": [times * stride] * 2, "strides": [stride] * 2, "pads": [pad] * 4, "count_include_pad": 1}
            pools.append(add("AveragePool", [redness], f"pool_{times}_{stride}", **how))
        inner, outer = (add("Mul", [pool, "four"], f"{pool}_much") for pool in pools)  # inner - (4 outer - inner) / 3
        score = add("Sub", [inner, outer], f"score_{stride}")
        flat = add("Reshape", [add("Clip", [score, "zero", "one"], f"clip_{stride}"), "flat"], f"flat_{stride}")
        nothing = add("Mul", [flat, "none"], f"nothing_{stride}")
        add("Identity", [flat], f"cls_{stride}")
        add("Identity", [flat], f"obj_{stride}")
        add("Add", [nothing, "box"], f"bbox_{stride}")
        add("Add", [nothing, "kps"], f"kps_{stride}")
    sizes = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    outputs = [
        helper.make_tensor_value_info(f"{kind}_{stride}", TensorProto.FLOAT, [1, None, width])
        for kind, width in sizes.items()
        for stride in (8, 16, 32)
        if f"{kind}_{stride}" != lacking
    ]
    sides = [side, side] if isinstance(side, int) else ["height", "width"]
    taken = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *sides])]
    known = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "squares", taken, outputs, known)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {"license": licence} if licence else {})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def scene(path: Path, squares: list[tuple[int, int, int]], size: tuple[int, int] = (128, 96), tint: int = 0) -> Path:
    """Red squares (left, top, side) on grey, each with eyes of a tint where the detector says that they are."""
    image = Image.new("RGB", size, (90, 90, 90))
    pen = ImageDraw.Draw(image)
    for left, top, side in squares:
        pen.rectangle((left, top, left + side - 1, top + side - 1), fill=(255, 0, 0))
        for x, y in PLACES[:2] * side + [left, top]:
            pen.rectangle((x - side / 32, y - side / 32, x + side / 32, y + side / 32), fill=(200, 0, tint))
    image.save(path)
    return path
