"""An ONNX file of others as an encoder: what it is given, what comes of it, what is no such file."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmcli.checks.encoder import SPECS, column
from mmcli.encoders.onnx import Config, Onnx
from mmcli.errors import ConfigError
from mmcli.pretrained.licences import Origin
from mmcli.signals import Column
from tests.encoders import faces

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def made(path: Path, **options: Any) -> Onnx:
    encoder = Onnx(Config(model=str(path), **options), SPECS["grid"])
    encoder.start()
    return encoder.eval()


@pytest.mark.parametrize(
    "form", [{}, {"batch": 1}, {"last": True}, {"side": "side"}, {"side": "side", "batch": 1, "last": True}]
)
@pytest.mark.parametrize("bgr", [False, True])
def test_it_gives_what_the_file_gives(form: dict[str, Any], bgr: bool, tmp_path: Path) -> None:
    encoder, pictures = made(faces.write(tmp_path / "a.onnx", **form), bgr=bgr), column("grid")
    prepared = encoder.prepare(pictures)
    assert isinstance(prepared, Column)
    grid = pictures.values.float().numpy()
    wanted = faces.vectors(grid[:, ::-1] if bgr else grid, 1 if "side" in form else faces.CELLS)
    here = pictures.present.numpy()
    np.testing.assert_allclose(prepared.values.numpy()[here], wanted[here], atol=2e-3)
    assert not prepared.values[~pictures.present].any()
    nothing = Column(torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.bool))
    assert encoder.prepare(nothing).values.shape == (2, encoder.dim)  # type: ignore[attr-defined]
    encoder.fit(prepared)
    found = encoder(prepared.gather(torch.arange(6))).pooled.detach().numpy()[here]
    own = wanted[here]
    np.testing.assert_allclose(found, (own - own.mean(0)) / own.std(0), atol=5e-3)


def test_the_artifact_needs_the_file_no_more(tmp_path: Path) -> None:
    path = faces.write(tmp_path / "a.onnx")
    encoder = made(path)
    encoder.fit(encoder.prepare(column("grid")))
    config = Config(**json.loads(json.dumps(encoder.config.model_dump())))
    path.unlink()
    copied = copy.deepcopy(encoder)
    assert torch.equal(copied.prepare(column("grid")).values, encoder.prepare(column("grid")).values)  # type: ignore[attr-defined]
    again = Onnx(config, SPECS["grid"])
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again.prepare(column("grid")).values, encoder.prepare(column("grid")).values)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="there is no such file"):
        again.start()


def test_a_file_that_changed_meanwhile_is_not_taken(tmp_path: Path) -> None:
    encoder = made(faces.write(tmp_path / "a.onnx"))
    faces.write(tmp_path / "a.onnx", batch=1)
    with pytest.raises(ConfigError, match="has changed while it was read"):
        encoder.start()


def test_what_it_wants_and_whose_it_is(tmp_path: Path) -> None:
    path = faces.write(tmp_path / "arcface.onnx", licence="non-commercial research")
    wants = {"normalize": "given", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    assert Onnx.preprocessing(Config(model=str(path))) == {"image": {**wants, "size": 32}}
    assert Onnx.preprocessing(Config(model=str(faces.write(tmp_path / "free.onnx", side="side")))) == {"image": wants}
    assert made(path).origin() == Origin("arcface.onnx", "non-commercial research")
    assert made(path).preparation() is None


def test_what_is_no_network_of_pictures_is_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    with pytest.raises(ConfigError, match="wants a file"):
        Onnx.resolve(Config())
    with pytest.raises(ConfigError, match="there is no such file"):
        Onnx.resolve(Config(model=str(tmp_path / "no.onnx")))
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ConfigError, match="ONNX Runtime cannot read it"):
        Onnx.resolve(Config(model=str(tmp_path / "text.onnx")))
    path = faces.write(tmp_path / "a.onnx", side=64)
    with pytest.raises(ConfigError, match="takes 64 x 64 pixels, the column has 32 x 32"):
        Onnx(Config(model=str(path)), SPECS["grid"])
    with pytest.raises(ConfigError, match=r"unknown output 'fc2'. Did you mean 'fc1'"):
        Onnx.resolve(Config(model=str(path), output="fc2"))
    with pytest.raises(ConfigError, match=r"gives cells \[2, 3, 4, 4\], fc1 \[2, 6\]"):
        Onnx.resolve(Config(model=str(path), output="cells"))
    with pytest.raises(ValueError, match="weights"):
        Config(model=str(path), weights="none")  # type: ignore[arg-type]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 7])
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g", [value], [helper.make_empty_tensor_value_info("y")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (tmp_path / "vector.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ConfigError, match=r"takes x tensor\(float\) \['b', 7\]"):
        Onnx.resolve(Config(model=str(tmp_path / "vector.onnx")))
