"""Every encoder and every fusion as an ONNX graph gives what PyTorch gives: other batch sizes, other lengths, absent cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmcli import registry
from mmcli.config import validate
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError
from mmcli.models import graphs
from mmcli.models.networks import FusedModel
from mmcli.models.recipe import averaged, build_answer, build_encoder, build_head
from mmcli.signals import Column, Field, Kind, Signal, SignalSpec
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as TaskConfig
from mmcli.tasks.text import Config as TextConfig
from mmcli.tasks.text import Text

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

TASK = Classification.fit(TaskConfig(), [("a",), ("b",), ("c",)], ["y"])
PIECES = (b"", *(bytes([65 + i]) for i in range(20)))
SPECS = {
    "grid": SignalSpec(kind="grid", shape=(3, 16, 16)),
    "ids": SignalSpec(kind="ids", shape=(), vocab_size=21, pieces=PIECES),
    "spectrogram": SignalSpec(kind="spectrogram", shape=(16,)),
    "sequence": SignalSpec(kind="sequence", shape=(5,)),
    "clip": SignalSpec(kind="clip", shape=(3, 3, 16, 16)),
    "vector": SignalSpec(kind="vector", shape=(6,)),
    "fields": SignalSpec(kind="fields", shape=(3,), fields=(Field("x"), Field("y"), Field("z", categories=4))),
}
SMALL: dict[str, dict[str, Any]] = {
    "cnn": {"width": 4, "stages": 2},
    "rnn": {"hidden": 8, "embedding": 8, "layers": 2},
    "bag": {"buckets": 64, "dim": 8},
    "crnn": {"width": 4, "hidden": 8},
    "cnn-rnn": {"width": 4, "hidden": 8, "stages": 2},
    "mlp": {"members": 2, "hidden": 16},
    "tabm": {"members": 3, "hidden": 16},
    "ft-transformer": {},
    "transformer": {"dim": 16, "heads": 2},
    "conformer": {"dim": 16, "heads": 2, "layers": 1, "channels": 4, "kernel": 3, "stride": 2, "halves": True},
}


class Plain(Encoder):
    """One layer over every step, for tests of what comes after the encoders: tracing takes time by the layer."""

    kinds = frozenset({"vector", "sequence", "fields"})

    def __init__(self, kind: Kind) -> None:
        super().__init__(SPECS[kind], 8)
        torch.manual_seed(1)
        self.layer = nn.Linear(SPECS[kind].shape[0], 8)
        nn.init.normal_(self.absent)

    @staticmethod
    def parameter_formula(config: Any, spec: SignalSpec) -> int:
        raise NotImplementedError

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        values = signal.values.nan_to_num() if signal.lengths is not None else signal.values.nan_to_num()[:, None]
        mask = torch.ones_like(values[..., 0], dtype=torch.bool) if signal.lengths is None else signal.mask()
        tokens = self.layer(values).tanh() * mask[..., None]
        return tokens.sum(1) / mask.sum(1, keepdim=True), tokens, mask


def column(kind: str, rows: int = 6) -> Column:
    spec = SPECS[kind]
    generator = torch.Generator().manual_seed(7)
    present = torch.tensor([i != 2 for i in range(rows)])
    if kind in {"ids", "spectrogram", "sequence"}:
        lengths = torch.tensor([9, 4, 0, 7, 12, 5][:rows])
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        total = int(offsets[-1])
        if kind == "ids":
            return Column(torch.randint(1, 21, (total,), generator=generator).int(), present, offsets)
        return Column(torch.randn(total, *spec.shape, generator=generator), present, offsets)
    values = torch.randn(rows, *spec.shape, generator=generator)
    if kind == "fields":
        values[:, 2] = torch.tensor([0.0, 1, 2, 3, 1, float("nan")])
        values[2] = float("nan")
        return Column(values, present)
    values = values * present.reshape(-1, *[1] * (values.dim() - 1))
    return Column(values, present, times=torch.arange(3.0).expand(rows, 3) if kind == "clip" else None)


def encoder(name: str, kind: str) -> Encoder:
    torch.manual_seed(1)
    part = registry.config_of(registry.load("encoders", name))
    made = build_encoder(name, validate(part, SMALL[name], name).model_dump(), SPECS[kind])
    prepared = made.prepare(column(kind))
    made.fit(prepared)
    torch.nn.init.normal_(made.absent)
    return made.eval()


HEAD = {"name": "linear", "config": {}}


def model(encoders: dict[str, Encoder], method: str = "concat", members: int = 1) -> FusedModel:
    dims = {name: own.dim for name, own in encoders.items()}
    part = registry.config_of(registry.load("fusions", method))
    sources = {name: name for name in dims}
    groups = [list(dims)] if registry.load("fusions", method).compares else []
    own_head = (method, part().model_dump(), dims, sources, TASK, HEAD)
    heads = [build_head(*own_head, decisions=True, groups=groups) for _ in range(members)]
    own = {name: build_answer(HEAD, TASK, dim) for name, dim in dims.items()}
    return FusedModel(encoders, averaged(heads), own).eval()


def signals(network: FusedModel, kinds: dict[str, str], index: list[int]) -> dict[str, Signal]:
    prepared = network.prepare({name: column(kind) for name, kind in kinds.items()})
    return {name: own.gather(torch.tensor(index)) for name, own in prepared.items()}


def check(network: FusedModel, kinds: dict[str, str], path: Path, apart: bool = False) -> None:
    """`apart`: whether it is to be taken apart before it is translated, which takes three times as long."""
    traced = signals(network, kinds, [0, 1, 2, 3])
    program = graphs.exported(network, traced)
    taken = []
    with pytest.MonkeyPatch.context() as patch:
        plain = torch.export.ExportedProgram.run_decompositions
        patch.setattr(
            torch.export.ExportedProgram, "run_decompositions", lambda own, table: taken.append(own) or plain(own, table)
        )
        graphs.write_onnx(program, list(graphs.tensors_of(traced)), path)
    assert bool(taken) == apart
    found = graphs.OnnxModel(path, threads=1)
    for index in ([0, 1, 2, 3], [4], [2], [5, 3, 0], [0, 1, 2, 3, 4, 5]):
        batch = signals(network, kinds, index)
        with torch.no_grad():
            wanted: Tensor = network(batch).outputs
        torch.testing.assert_close(found(graphs.tensors_of(batch)), wanted, atol=1e-4, rtol=1e-3)


PAIRS = [
    (name, kind)
    for name in SMALL
    for kind in SPECS
    if kind in registry.load("encoders", name).kinds and (name, kind) != ("bag", "sequence")
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_encoders(name: str, kind: str, tmp_path: Path) -> None:
    """Under a layer over its features alone: what else there may be over them is traced with `Plain`, below."""
    own = encoder(name, kind)
    head = build_head("linear", {}, {"x": own.dim}, {"x": "x"}, TASK, HEAD)
    check(FusedModel({"x": own}, head).eval(), {"x": kind}, tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in registry.parts("fusions") if name != "align"])  # it gives no one answer
def test_fusions(method: str, tmp_path: Path) -> None:
    kinds = {"v": "vector", "t": "sequence"}
    network = model({"v": Plain("vector"), "t": Plain("sequence")}, method)
    check(network, kinds, tmp_path / "m.onnx")


class Unheard(Plain):
    """With an operator that nothing here has a word of ONNX for, and one that changes a tensor in place."""

    def __init__(self, kind: Kind, in_place: bool) -> None:
        super().__init__(kind)
        self.in_place = in_place

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        values = signal.values.nan_to_num()
        if self.in_place:
            values = values * 1.0
            values[:, 0] = 0.0
        else:
            values = values.fliplr()
        return super().encode(replace(signal, values=values))


@pytest.mark.slow
@pytest.mark.parametrize("in_place", [True, False])
def test_what_onnx_has_no_word_for_is_taken_apart(in_place: bool, tmp_path: Path) -> None:
    check(model({"v": Unheard("vector", in_place)}), {"v": "vector"}, tmp_path / "m.onnx", apart=True)


@pytest.mark.slow
def test_an_average_of_several(tmp_path: Path) -> None:
    network = model({"v": encoder("mlp", "vector"), "f": Plain("fields")}, "gated", members=3)
    network.fusion_head.shares.copy_(torch.tensor([0.5, 0.3, 0.2]))  # type: ignore[union-attr]
    check(network, {"v": "vector", "f": "fields"}, tmp_path / "m.onnx")


TEXT = Text.fit(TextConfig(), [("ab ba",), ("b a ab",)], ["y"])


def reader(names: dict[str, str], orders: list[list[str]]) -> FusedModel:
    """Texts read off what leads in each order, averaged."""
    encoders = {name: encoder(architecture, kind) for name, (architecture, kind) in LEADS.items() if name in names}
    part = registry.config_of(registry.load("fusions", "gated-cross-attention"))
    heads = []
    for order in orders:
        dims = {name: encoders[name].dim for name in order}
        head = build_head("gated-cross-attention", part().model_dump(), dims, {n: n for n in dims}, TEXT, CTC)
        nn.init.normal_(head.fusion.get_parameter("open"))
        heads.append(head)
    return FusedModel(encoders, averaged(heads)).eval()


CTC = {"name": "ctc", "config": {}}
LEADS: dict[str, tuple[str, Any]] = {"s": ("conformer", "spectrogram"), "l": ("crnn", "spectrogram"), "p": ("crnn", "grid")}


@pytest.mark.slow
@pytest.mark.parametrize("names", [["s", "p"], ["l"]])
def test_texts_give_log_probabilities_and_how_many_steps_are_each_rows(names: list[str], tmp_path: Path) -> None:
    kinds = {name: str(LEADS[name][1]) for name in names}
    network = reader(kinds, [names, names])
    network.fusion_head.temperature.fill_(1.5)
    traced = signals(network, kinds, [0, 1, 2, 3])
    path = tmp_path / "m.onnx"
    graphs.write_onnx(graphs.exported(network, traced), list(graphs.tensors_of(traced)), path)
    found = graphs.OnnxModel(path, threads=1)
    for index in ([0, 1, 2, 3], [4], [2], [5, 3, 0], [0, 1, 2, 3, 4, 5]):
        batch = signals(network, kinds, index)
        if index == [4]:  # a row of one frame
            batch = {
                n: replace(b, values=b.values[:, :1], lengths=torch.ones(1).long()) if b.lengths is not None else b
                for n, b in batch.items()
            }
        with torch.no_grad():
            wanted: Column = network(batch).outputs
        made = found(graphs.tensors_of(batch))
        assert made.offsets.tolist() == wanted.offsets.tolist()  # type: ignore[union-attr]
        torch.testing.assert_close(made.values, wanted.values, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(made.values.exp().sum(1), torch.ones(len(made.values)))


def test_what_no_graph_can_say_is_said() -> None:
    network = reader({"s": "", "l": ""}, [["s", "l"], ["l", "s"]])
    assert graphs.why_no_graph(network) == "it averages models that follow different columns step by step"
    with pytest.raises(ConfigError, match="cannot be one graph: it averages"):
        graphs.exported(network, signals(network, {"s": "spectrogram", "l": "spectrogram"}, [0, 1, 3]))
    assert not graphs.why_no_graph(reader({"s": ""}, [["s"]]))
    assert not graphs.why_no_graph(model({"v": Plain("vector")}))


def test_a_recurrent_layer_is_seen() -> None:
    for architecture, kind, there in (("rnn", "ids", True), ("mlp", "vector", False), ("cnn-rnn", "clip", False)):
        network = model({"x": encoder(architecture, kind)})  # of a clip's frames there is one number
        assert graphs.has_recurrent_layers(network, signals(network, {"x": kind}, [0, 1, 3])) is there


def _short_and_long() -> tuple[FusedModel, dict[str, Signal], dict[str, Signal]]:
    """A network of sequences, rows of one step, and the same rows of twelve."""
    network = model({"t": Plain("sequence")})
    long = signals(network, {"t": "sequence"}, [0, 1, 4, 5])
    return network, graphs.shortest(long), long


def test_rows_of_one_step_are_cut_from_longer_ones() -> None:
    _, short, long = _short_and_long()
    assert long["t"].values.shape == (4, 12, 5)
    assert short["t"].values.shape == (4, 1, 5)
    torch.testing.assert_close(short["t"].values[:, 0], long["t"].values[:, 0])
    assert short["t"].lengths is not None
    assert short["t"].lengths.tolist() == [1, 1, 1, 1]


def test_a_graph_that_was_traced_on_rows_of_one_step_runs_longer_ones(tmp_path: Path) -> None:
    network, short, long = _short_and_long()
    graphs.write_onnx(graphs.exported(network, short), list(graphs.tensors_of(short)), tmp_path / "m.onnx")
    run = graphs.OnnxModel(tmp_path / "m.onnx", threads=1)
    graphs.check(network, long, run, exact=True)
    with torch.no_grad():
        torch.testing.assert_close(run(graphs.tensors_of(long)), network(long).outputs, atol=1e-4, rtol=1e-3)


def test_what_answers_otherwise_on_short_rows_is_refused() -> None:
    network, _, long = _short_and_long()

    def run(tensors: Mapping[str, Tensor]) -> Tensor:
        rows = graphs.shortest(long) if tensors["t.values"].shape[1] == 1 else long
        with torch.no_grad():
            return network(rows).outputs + 0.1 * (tensors["t.values"].shape[1] == 1)

    with pytest.raises(RuntimeError, match="on rows of length 1 it answers otherwise than PyTorch"):
        graphs.check(network, long, run, exact=True)
    graphs.check(network, long, run, exact=False)  # int8 rounds: its score tells
    with pytest.raises(RuntimeError, match="on the longest rows it gives no answer"):
        graphs.check(network, long, lambda tensors: torch.full((4, 3), float("nan")), exact=False)


def test_an_error_of_onnx_runtime_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x01nothing")
    with pytest.raises(RuntimeError, match="ONNX Runtime cannot load it"):
        graphs.OnnxModel(tmp_path / "m.onnx")
