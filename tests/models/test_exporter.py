"""What is left out of torch's exporter changes no graph."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from torch import fx

from mmcli.models import exporter, graphs
from tests.models.test_graphs import encoder, model, signals

pytest.importorskip("onnxscript")


def written(path: Path) -> bytes:
    """A graph with tests of ids, sums of booleans and numbers of several types, its nodes without where they were called."""
    network = model({"t": encoder("bag", "ids"), "f": encoder("tabm", "fields")})
    own = signals(network, {"t": "ids", "f": "fields"}, [0, 1, 3])
    graphs.write_onnx(graphs.exported(network, own), list(graphs.tensors_of(own)), path)
    return path.read_bytes()


@pytest.mark.slow
def test_the_graph_is_that_of_torch_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = written(tmp_path / "quick.onnx")
    assert Path(__file__).name.encode() not in found  # nor any other file of this machine
    assert Path(graphs.__file__).name.encode() not in found
    monkeypatch.setattr(fx.config, "do_not_emit_stack_traces", True, raising=False)  # torch 2.11 has not got it
    for name in ("tracing", "translating", "whole"):
        monkeypatch.setattr(exporter, name, contextlib.nullcontext)
    assert written(tmp_path / "plain.onnx") == found


def test_all_of_it_is_undone_afterwards_and_stands_on_names_that_this_torch_has() -> None:
    from torch._dynamo import config
    from torch.fx.experimental import proxy_tensor
    from torch.onnx._internal.exporter import _fx_passes
    from torch.onnx._internal.exporter._registration import ONNXRegistry
    from torch.onnx._internal.fx.passes import type_promotion

    interpreter = type_promotion._TypePromotionInterpreter

    def now() -> tuple[object, ...]:
        replaced = ONNXRegistry.__dict__["from_torchlib"], interpreter.__dict__["run_node"]
        known = [vars(fx.config)[name] for name in ("do_not_emit_stack_traces",) if name in vars(fx.config)]
        known.append(vars(proxy_tensor)["_extract_tensor_metadata"])
        return *replaced, _fx_passes.decompose_with_registry, config.fake_tensor_cache_enabled, *known

    before = now()
    with exporter.tracing(), exporter.translating(), exporter.whole():
        assert not any(own == other for own, other in zip(now(), before, strict=True))
    assert [own is other for own, other in zip(now(), before, strict=True)] == [True] * len(before)


def test_without_those_names_there_is_a_graph_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.fx.experimental import proxy_tensor
    from torch.onnx._internal.exporter import _fx_passes, _registration
    from torch.onnx._internal.fx.passes import type_promotion

    monkeypatch.delattr(_registration, "ONNXRegistry")
    monkeypatch.delattr(type_promotion, "get_type_promotion_rule")
    monkeypatch.delattr(_fx_passes, "decompose_with_registry")
    before = type_promotion._TypePromotionInterpreter.run_node
    monkeypatch.delattr(proxy_tensor, "_extract_tensor_metadata")
    with exporter.tracing(), exporter.translating(), exporter.whole():
        assert type_promotion._TypePromotionInterpreter.run_node is before


def test_operators_of_ones_own_are_in_the_graph_that_they_were_given_for_alone() -> None:
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with exporter.translating():
        first = ONNXRegistry.from_torchlib()
        target = next(iter(first.functions))
        known = len(first.functions[target])
        first.functions[target].append(first.functions[target][0])
        assert len(ONNXRegistry.from_torchlib().functions[target]) == known
