"""A step of training waits for no device. Here it steps on one that holds no numbers at all (`meta`): whatever asks it for one,
or for the places where something is true, fails there, and so does what is made on the host and not sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.profiler import DeviceType

from mmcli import registry
from mmcli.checks import fusion as fusions
from mmcli.checks import modality as modalities
from mmcli.checks.encoder import PIECES, column
from mmcli.heads import Decisions
from mmcli.heads.linear import Config as HeadConfig
from mmcli.heads.linear import Linear
from mmcli.jobs import encoder, fusion, joint, warmstart
from mmcli.jobs.balancing import Teacher, _masked, _mean_over, alignment
from mmcli.models.columns import ColumnModel, joined
from mmcli.models.networks import FusedModel, FusionHead
from mmcli.signals import Column, Decision, Features, Kind, RaggedFeatures, Signal
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as TaskConfig
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Augment, Rows
from mmcli.training.job import Job, Step
from mmcli.training.profiling import PARTS, STEPS, _summarised
from mmcli.training.steps import gradient
from tests.encoders.test_contract import CASES, SMALL, build
from tests.training.test_loop import job

META = torch.device("meta")
TASK = Classification.fit(TaskConfig(class_weights="balanced"), [("a",), ("b",), ("b",)], ["y"])
ROWS = 12
LIBRARY = {"hf", "onnx"}
"""transformers' networks look at their masks; those of ONNX files run once, before any step."""
OF_CLIPS = {"torchvision"}
"""Its clips are not laid out as pictures are."""


def linear(dim: int) -> Linear:
    return Linear(HeadConfig(), TASK, dim)


def rows_of(kind: Kind, whole: bool) -> Column:
    """Some rows, two of which are absent, or none."""
    places = torch.arange(ROWS) % 6
    return column(kind).select(torch.where(places == 3, 2, places) if whole else places)


def stepped(step: Step, inputs: Mapping[str, Any], augment: Mapping[str, Augment] | None = None, parts: int = 1) -> None:
    """Takes the gradient of a batch on a device without numbers."""
    rows = Rows(inputs, torch.arange(ROWS) % 2, {}, augment or {}).to(META)
    ours = replace(job_on(META), step=step.to(META).train(), rows=rows)
    assert gradient(ours, rows.gather(torch.arange(8)), parts).device == META
    gradients = [own.grad.device for own in step.parameters() if own.grad is not None]
    assert set(gradients) == {META}


def job_on(device: torch.device) -> Job:
    made = job(Path())
    return replace(made, compute=replace(made.compute, device=device))


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("name", "kind"), [(n, k) for n, k in CASES if n not in LIBRARY and (k != "clip" or n not in OF_CLIPS)]
)
def test_no_encoder_waits(name: str, kind: Kind, whole: bool) -> None:
    built = build(name, kind)
    prepared = built.prepare(rows_of(kind, whole))
    built.fit(prepared)
    stepped(encoder._Step(ColumnModel(built, linear(built.dim)), "x", "none"), {"x": prepared})


@pytest.mark.parametrize("strength", ["light", "strong"])
@pytest.mark.parametrize(("modality", "name"), [("image", "cnn"), ("audio", "crnn"), ("audio", "cnn"), ("video", "cnn-rnn")])
def test_no_augmentation_waits(modality: str, name: str, strength: Any) -> None:
    (subject,) = modalities.subjects(modality)
    fitted, part = subject.fitted(), registry.load("encoders", name)
    cells = fitted.restore(fitted.transform(subject.cells).column).select(torch.arange(ROWS) % len(subject.cells))
    built = part(registry.config_of(part)(**SMALL.get(name, {})), fitted.describe())  # type: ignore[call-arg]
    varied = {"x": lambda signal, _: fitted.augment(signal, strength)}
    stepped(encoder._Step(ColumnModel(built, linear(built.dim)), "x", "none"), {"x": cells}, varied)


def test_a_pace_that_is_drawn_on_the_device_is_not_asked_for() -> None:
    """Of sounds whose pace varies nobody but a recurrent network has to know how long they have become."""
    (subject,) = modalities.subjects("audio")
    fitted, part = subject.fitted(), registry.load("encoders", "conformer")
    cells = fitted.restore(fitted.transform(subject.cells).column).select(torch.arange(ROWS) % len(subject.cells))
    built = part(registry.config_of(part)(**SMALL["conformer"]), fitted.describe())  # type: ignore[call-arg]
    varied = {"x": lambda signal, targets: fitted.augment(fitted.stretch(signal, targets), "light")}
    stepped(encoder._Step(ColumnModel(built, linear(built.dim)), "x", "none"), {"x": cells}, varied)


@pytest.mark.parametrize("how", ["mixup", "cutmix"])
@pytest.mark.parametrize(("kind", "name"), [("grid", "cnn"), ("spectrogram", "crnn"), ("clip", "cnn-rnn")])
def test_mixing_rows_does_not_wait(kind: Kind, name: str, how: str) -> None:
    built = build(name, kind)
    stepped(encoder._Step(ColumnModel(built, linear(built.dim)), "x", how), {"x": rows_of(kind, False)})


@pytest.mark.parametrize(("kind", "name"), [("ids", "rnn"), ("spectrogram", "crnn"), ("fields", "mlp")])
def test_batches_in_parts_do_not_wait(kind: Kind, name: str) -> None:
    built = build(name, kind)
    built.fit(rows_of(kind, False))
    step = encoder._Step(ColumnModel(built, linear(built.dim)), "x", "none")
    stepped(step, {"x": rows_of(kind, False)}, parts=2)


def test_warm_starts_do_not_wait() -> None:
    tokens = warmstart.MaskedTokens(build("rnn", "ids"), len(PIECES), 1)
    stepped(warmstart._Step(tokens, "x"), {"x": rows_of("ids", False)})
    views = warmstart.TwoViews(build("cnn", "grid"), lambda signal: signal)
    stepped(warmstart._Step(views, "x"), {"x": rows_of("grid", False)})


def features(ragged: bool) -> dict[str, Any]:
    """Of three columns, in which rows are absent."""
    made: dict[str, Any] = {}
    for name, width in fusions.dims(3).items():
        present, lengths = torch.rand(ROWS) < 0.7, torch.randint(1, 5, (ROWS,))
        pooled, outputs = torch.randn(ROWS, width).half(), torch.randn(ROWS, 2)
        if ragged:
            offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
            made[name] = RaggedFeatures(pooled, torch.randn(int(offsets[-1]), width).half(), offsets, present, outputs)
        else:
            mask = torch.arange(4)[None] < lengths[:, None]
            made[name] = Features(pooled, torch.randn(ROWS, 4, width).half(), mask, present, outputs)
    return made


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("name", list(registry.parts("fusions")))
def test_no_fusion_waits(name: str, ragged: bool) -> None:
    part, dims = registry.load("fusions", name), fusions.dims(3)
    decides = part.family == "decision"
    built = part(registry.config_of(part)(), dims, *([Decision(2, "softmax")] if decides else []))  # type: ignore[call-arg]
    head = FusionHead(built, Decisions(TASK) if decides else linear(built.dim), dims, {n: n for n in dims}, 0.2)
    head.swap_shares = dict.fromkeys(dims, 0.3)
    stepped(fusion._Step(head), features(ragged))


@pytest.mark.parametrize(
    "options", [{}, {"balance": 1.0}, {"anchor": 0.5}, {"align": 0.3}, {"modality_dropout": 0.2}], ids=lambda own: "".join(own)
)
def test_training_through_does_not_wait(options: dict[str, float]) -> None:
    encoders = {"a": build("cnn", "grid"), "b": build("rnn", "ids"), "c": build("mlp", "fields")}
    inputs = {"a": rows_of("grid", False), "b": rows_of("ids", True), "c": rows_of("fields", False)}
    encoders["c"].fit(inputs["c"])
    dims = {name: own.dim for name, own in encoders.items()}
    part = registry.load("fusions", "gated")
    built = part(registry.config_of(part)(), dims)  # type: ignore[call-arg]
    own = FusionHead(built, linear(built.dim), dims, {n: n for n in dims}, options.get("modality_dropout", 0.0))
    config = TrainingConfig(auxiliary=0.3, **options)  # type: ignore[arg-type]
    teachers = {name: Features(torch.randn(ROWS, d), torch.randn(ROWS, 1, d), *there()) for name, d in dims.items()}
    anchors = {name: Teacher.of(own.to(META)) for name, own in teachers.items()} if config.anchor else {}
    heads = {name: linear(dim) for name, dim in dims.items()}
    stepped(joint._Step(joint._WithHeads(FusedModel(encoders, own), heads, config.align > 0), config, anchors), inputs)


def there() -> tuple[Tensor, Tensor]:
    return torch.ones(ROWS, 1, dtype=torch.bool), torch.rand(ROWS) < 0.8


def test_by_weights_a_loss_is_what_it_is_without_the_rows_that_do_not_count() -> None:
    """On a device all rows are computed, and some count nothing."""
    torch.manual_seed(0)
    errors, counted = torch.rand(6, 4), torch.tensor([True, False, True, True, False, True])
    weighed = torch.where(counted[:, None], errors, 0.0).sum() / 16
    torch.testing.assert_close(_mean_over(errors, counted), weighed)
    one, other = torch.randn(6, 4, requires_grad=True), torch.randn(6, 4)
    cost, pairs = _masked(one, other, counted, 0.1)
    assert float(pairs) == 1.0
    wanted = alignment({"a": one, "b": other}, {"a": counted, "b": torch.ones(6, dtype=torch.bool)})
    torch.testing.assert_close(cost, wanted)
    torch.testing.assert_close(*(torch.autograd.grad(loss, one)[0] for loss in (cost, wanted)))
    few = torch.tensor([True] + [False] * 5)
    cost, pairs = _masked(one, other, few, 0.1)
    assert float(cost.detach()) == float(pairs) == 0.0
    assert torch.autograd.grad(cost, one)[0].abs().sum() == 0


@pytest.mark.parametrize("kind", ["grid", "ids", "spectrogram", "clip"])
def test_what_the_host_knows_of_a_batch_is_what_is_in_it(kind: Kind) -> None:
    """Of one on a device and of one on the host; of all its rows, of the present ones, and of parts."""
    held, index = rows_of(kind, False), torch.tensor([3, 0, 9, 2, 5])
    moved = held.to(META)
    assert moved.host is not None
    assert held.gather(index).host is not None
    for far, near in (
        (moved.gather(index), held.gather(index)),
        (moved.gather(index).only_present()[1], held.gather(index).only_present()[1]),
        (moved.gather(index).select(torch.tensor([1, 3])), held.gather(index).select(torch.tensor([1, 3]))),
    ):
        assert far.values.shape == near.values.shape
        assert far.host is not None
        assert torch.equal(far.host.present, near.present)
        assert (far.lengths_on_host is None) == (near.lengths is None)
        assert near.lengths is None or torch.equal(far.lengths_on_host, near.lengths)  # type: ignore[arg-type]
    there, present = held.gather(index).only_present()
    assert there.tolist() == [1, 3, 4]
    assert torch.equal(present.values[0], held.gather(index).values[1, : present.values.shape[1]])


def test_batches_that_are_joined_are_not_asked() -> None:
    """Nor where one encoder reads several columns."""
    index = torch.tensor([3, 0, 9, 2])
    far, near = (
        joined([own.gather(index), own.gather(index + 1)]) for own in (rows_of("ids", False).to(META), rows_of("ids", False))
    )
    assert far.only_present()[1].values.shape == near.only_present()[1].values.shape
    assert near.only_present()[0].tolist() == [1, 3, 4, 5, 6]
    assert near.lengths is not None
    assert torch.equal(far.lengths_on_host, near.lengths)  # type: ignore[arg-type]


def test_a_graph_of_a_device_is_not_asked_for_the_gradients_of_two_parts(tmp_path: Path) -> None:
    """It writes those of the next part where it left those of the one before."""
    ours = job(tmp_path)
    replayed: list[int] = []

    def graph(batch: Any) -> Tensor:
        replayed.append(len(batch))
        return ours.step.forward(batch)

    ours.step._compiled_call_impl = graph  # type: ignore[assignment]
    batch = ours.rows.gather(torch.arange(8))
    for graphs, parts in ((True, 2), (True, 1), (False, 2)):
        gradient(replace(ours, compute=replace(ours.compute, graphs=graphs)), batch, parts)
    assert replayed == [8, 4, 4]


class Event:
    """One line of what the profiler sums up."""

    def __init__(self, key: str, host: float, device: float = 0.0, on_device: bool = False) -> None:
        self.key, self.cpu_time_total, self.self_cpu_time_total, self.self_device_time_total = key, host, host, device
        self.device_type = DeviceType.CUDA if on_device else DeviceType.CPU


class Found:
    """Steps of 100 microseconds on the host: a product that is started in 1 and takes 60, and a copy in 5 that takes 2."""

    def key_averages(self) -> list[Event]:
        spans = [Event("step", 100.0 * STEPS), *(Event(part, 20.0 * STEPS) for part in PARTS)]
        own = [Event("aten::mm", 1.0 * STEPS, 60.0 * STEPS), Event("aten::copy_", 5.0 * STEPS, 2.0 * STEPS)]
        notes = [Event(part, 0.0, 9.0 * STEPS, on_device=True) for part in ("step", *PARTS)]
        return [*spans, *own, Event("a kernel", 0.0, 60.0 * STEPS, on_device=True), *notes]


def test_on_a_gpu_an_operation_costs_what_its_kernels_take() -> None:
    far, near = (_summarised(Found(), 8, torch.device(name)) for name in ("cuda", "cpu"))  # type: ignore[arg-type]
    assert far.operations == [("aten::mm", 0.6), ("aten::copy_", 0.02)]
    assert near.operations == [("aten::copy_", 0.05), ("aten::mm", 0.01)]
    for found in (far, near):  # notes on the device's own time line have the same names
        assert found.seconds_a_step == pytest.approx(1e-4)
        assert found.shares["forward"] == pytest.approx(0.2)


def test_signals_without_what_the_host_knows_are_asked() -> None:
    signal = Signal(torch.arange(6.0).reshape(3, 2), torch.tensor([True, False, True]), torch.tensor([2, 0, 1]))
    there, present = signal.only_present()
    assert there.tolist() == [0, 2]
    assert present.values.tolist() == [[0.0, 1.0], [4.0, 5.0]]
