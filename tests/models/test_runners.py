"""Ways to run a model: the same outputs, sizes that count int8 as int8, costs that are measured, reasons in words."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmcli.errors import ConfigError
from mmcli.models import runners
from mmcli.models.runners import AOT, BFLOAT16, FLOAT32, INT8_WEIGHTS, ONNX, ONNX_INT8
from mmcli.training.device import Compute
from tests.conftest import shared
from tests.models.test_graphs import column, encoder, model, signals

CPU = Compute(torch.device("cpu"), "float32")
KINDS = {"v": "vector", "f": "fields"}


def made() -> Any:
    return model({"v": encoder("mlp", "vector"), "f": encoder("mlp", "fields")}, "gated")


@pytest.fixture
def network() -> Any:
    return made()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the graph of such a network, and the one in int8, each made by itself. Tests must not change it."""
    return shared(tmp_path_factory, "graphs", _write_graphs)


def _write_graphs(folder: Path) -> None:
    network = made()
    own = signals(network, KINDS, [0, 1, 3, 4])
    (folder / "graphs").mkdir()
    runners.write(ONNX_INT8, network, own, folder / "graphs" / "alone.onnx")
    runners.write(ONNX, network, own, folder / "graphs" / "whole.onnx")


@pytest.mark.slow
def test_every_way_gives_what_torch_gives(network: Any, files: Path) -> None:
    columns = {name: column(kind) for name, kind in KINDS.items()}
    wanted = runners.runner(FLOAT32, network, CPU).outputs(columns, CPU.device)
    graphs = {ONNX: files / "graphs" / "whole.onnx", ONNX_INT8: files / "graphs" / "alone.onnx"}
    for way, tolerance in ((BFLOAT16, 0.1), (INT8_WEIGHTS, 0.05), (ONNX, 1e-4), (ONNX_INT8, 0.2)):
        file = graphs.get(way)
        own = runners.runner(way, network, CPU, file)
        found = own.outputs(columns, CPU.device, batch_size=4)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0.05, msg=way)


@pytest.mark.slow
def test_int8_is_made_from_the_graph_that_is_there(
    network: Any, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = signals(network, KINDS, [0, 1, 3, 4])
    shutil.copytree(files / "graphs", tmp_path, dirs_exist_ok=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.onnx", "whole.onnx"]
    monkeypatch.setattr(runners.graphs, "exported", lambda *_: pytest.fail("the model was traced again"))
    runners.write(ONNX_INT8, network, own, tmp_path / "made.onnx", tmp_path / "whole.onnx")
    columns = {name: column(kind) for name, kind in KINDS.items()}
    made, alone = (
        runners.runner(ONNX_INT8, network, CPU, tmp_path / name).outputs(columns, CPU.device)
        for name in ("made.onnx", "alone.onnx")
    )
    assert torch.equal(made, alone)
    assert (tmp_path / "whole.onnx").is_file()


@pytest.mark.parametrize("way", [ONNX, ONNX_INT8])
def test_what_needs_a_package_is_refused_before_anything_is_traced(
    way: str, network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setattr(runners.graphs, "traced", lambda *_: pytest.fail("the model was traced"))
    with pytest.raises(ConfigError, match="onnxscript"):
        runners.write(way, network, signals(network, KINDS, [0, 1, 3]), tmp_path / "m.onnx")


def test_int8_weights_are_counted_as_int8(network: Any) -> None:
    whole, small = (runners.runner(way, network, CPU).size for way in (FLOAT32, INT8_WEIGHTS))
    linear = sum(m.weight.numel() for m in network.modules() if isinstance(m, torch.nn.Linear))
    assert whole - small > 2.5 * linear  # of four bytes each one is left, and scales


def test_recurrent_layers_are_not_compiled_ahead(tmp_path: Path) -> None:
    recurrent = model({"t": encoder("rnn", "ids")})
    with pytest.raises(RuntimeError, match="unrolled"):
        runners.write(AOT, recurrent, signals(recurrent, {"t": "ids"}, [0, 1, 3]), tmp_path / "m.pt2")


def test_a_cost_is_measured(network: Any) -> None:
    columns = {name: column(kind) for name, kind in KINDS.items()}
    dataset: Any = SimpleNamespace(splits={"val": torch.arange(6)}, column=lambda name: columns[name])
    found = runners.cost(runners.runner(FLOAT32, network, CPU), dataset, CPU)
    assert 0 < found.p50_ms_1 <= found.p95_ms_1
    assert 0 < found.p50_ms_32 <= found.p95_ms_32
    assert found.rows_per_s == pytest.approx(32e3 / found.p50_ms_32, rel=0.01)
    assert found.peak_mb >= round(found.size_mb, 1) - 0.1


def test_reasons_are_one_line() -> None:
    assert runners.why_not(RuntimeError("no kernel\nat line 3")) == "no kernel"
    assert runners.why_not(ConfigError("onnx is not installed", "pip install it")) == "onnx is not installed: pip install it"
