"""The loop against a hand-written one; resuming anywhere to the same bits."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmcli.errors import MmcliError
from mmcli.reporting.console import Console
from mmcli.reporting.metrics import Interval
from mmcli.signals import Batch, Column
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as TaskConfig
from mmcli.training import fitting, loop, profiling, weights
from mmcli.training.config import TrainingConfig
from mmcli.training.data import Rows, shuffled
from mmcli.training.device import Compute, derive_seed
from mmcli.training.job import Job, Step
from mmcli.training.loop import train

CPU = Compute(torch.device("cpu"), "float32")
TASK = Classification.fit(TaskConfig(label_smoothing=0), [("a",), ("b",)], ["y"])


class Classifying(Step):
    """A module on one column, by the task's loss or by another."""

    def __init__(self, module: nn.Module, loss: Callable[[Batch], Tensor] | None = None) -> None:
        super().__init__(module)
        self.other_loss = loss

    def outputs(self, batch: Batch) -> Tensor:
        return self.module(batch.inputs["x"].values)  # type: ignore[no-any-return]

    def forward(self, batch: Batch) -> Tensor:
        return self.other_loss(batch) if self.other_loss else TASK.loss(self.outputs(batch), batch.targets)


def with_loss(found: Job, loss: Callable[[Batch], Tensor]) -> Job:
    return replace(found, step=Classifying(found.module, loss))


def job(folder: Path, dropout: float = 0.3, seed: int = 5, **options: Any) -> Job:
    torch.manual_seed(0)
    values = torch.randn(50, 4)
    targets = (values[:, 0] > 0).long()
    splits = {"train": torch.arange(35), "val": torch.arange(35, 50)}
    # no bias before the normalisation: its gradient would be nothing but rounding
    module = nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.Dropout(dropout), nn.ReLU(), nn.Linear(8, 2))
    folder.mkdir(exist_ok=True, parents=True)

    config = TrainingConfig(**{"epochs": 6, "batch_size": 8, "learning_rate": 0.01, **options})
    rows = Rows({"x": Column(values, torch.ones(50, dtype=torch.bool))}, targets, splits, {})
    return Job(Classifying(module), rows, TASK, config, CPU, seed, folder, "test")


def bits(module: nn.Module) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in module.state_dict().values()]


class KilledError(Exception):
    pass


@pytest.mark.parametrize("kill_at", [1, 4, 5, 6, 17, 29])
def test_resumed_anywhere_it_gives_the_bits_of_an_uninterrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    whole = job(tmp_path / "whole", soup=3)
    expected = train(whole, Console(quiet=True))

    cut = job(tmp_path / "cut", soup=3, checkpoint_every_s=0)
    steps = 0
    take_step = loop._State.take_step

    def counting(self: Any, batch: Batch) -> None:
        nonlocal steps
        if steps == kill_at:
            raise KilledError
        take_step(self, batch)
        steps += 1

    monkeypatch.setattr(loop._State, "take_step", counting)
    with pytest.raises(KilledError):
        train(cut, Console(quiet=True))
    monkeypatch.setattr(loop._State, "take_step", take_step)
    torch.manual_seed(123)
    torch.rand(7)  # the generators have moved on
    resumed = job(tmp_path / "cut", soup=3)
    found = train(resumed, Console(quiet=True))
    assert found.soup == expected.soup
    assert bits(resumed.module) == bits(whole.module)
    assert found.history == expected.history
    assert (tmp_path / "cut" / loop.LOG).read_bytes() == (tmp_path / "whole" / loop.LOG).read_bytes()
    assert not (tmp_path / "cut" / loop.CHECKPOINT).exists()


def test_a_checkpoint_of_another_network_is_thrown_away_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it was made of has changed since: its tensors have other shapes."""
    take_step = loop._State.take_step

    def killed(self: Any, batch: Batch) -> None:
        take_step(self, batch)
        raise KilledError

    monkeypatch.setattr(loop._State, "take_step", killed)
    before = job(tmp_path, checkpoint_every_s=0)
    before.module[4] = nn.Linear(8, 3)  # type: ignore[index]
    with pytest.raises(KilledError):
        train(before, Console(quiet=True))
    assert (tmp_path / loop.CHECKPOINT).exists()
    monkeypatch.setattr(loop._State, "take_step", take_step)
    found, expected = job(tmp_path), job(tmp_path / "new")
    train(found, Console())
    assert "is of another network: it is thrown away, and training begins anew" in " ".join(capsys.readouterr().err.split())
    train(expected, Console(quiet=True))
    assert bits(found.module) == bits(expected.module)


def test_what_was_answering_before_is_training_from_the_first_step_on(tmp_path: Path) -> None:
    """A network that was loaded, or is trained on, comes in a new wrapper, whose own mode says nothing of it."""
    expected = job(tmp_path / "new")
    train(expected, Console(quiet=True))
    answering = job(tmp_path / "old")
    answering.module[1].eval()  # type: ignore[index]
    answering.module[2].eval()  # type: ignore[index]
    train(answering, Console(quiet=True))
    assert bits(answering.module) == bits(expected.module)


def test_time_ends_training_in_the_middle_of_an_epoch_its_rate_gone_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step takes a tenth of the time: the descent of the rate is that of ten steps, not of thirty."""
    clock = 0.0
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock))
    take_step, rates = loop._State.take_step, []

    def timed(self: Any, batch: Batch) -> None:
        nonlocal clock
        take_step(self, batch)
        rates.append(self.optimizer.param_groups[0]["lr"])
        clock += 1.0

    monkeypatch.setattr(loop._State, "take_step", timed)
    found = train(replace(job(tmp_path, warmup=0), seconds=9.5), Console(quiet=True))
    assert found.cut
    assert len(found.history) == 2
    assert len(rates) == 10  # five steps to an epoch
    done = [int(30 * step / 9.5) for step in range(10)]
    assert rates == pytest.approx([0.01 * 0.5 * (1 + math.cos(math.pi * own / 30)) for own in done])


def test_time_that_is_not_over_changes_no_bit(tmp_path: Path) -> None:
    free, timed = job(tmp_path / "free"), replace(job(tmp_path / "timed"), seconds=1e9)
    assert train(free, Console(quiet=True)).history == train(timed, Console(quiet=True)).history
    assert bits(free.module) == bits(timed.module)


def test_equals_a_plain_pytorch_loop(tmp_path: Path) -> None:
    ours = job(tmp_path, dropout=0.0, ema=0, patience=99, clip_norm=0, weight_decay=0.1)
    train(ours, Console(quiet=True))

    plain = job(tmp_path, dropout=0.0)
    matrices = [p for p in plain.module.parameters() if p.dim() > 1]
    vectors = [p for p in plain.module.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}])
    values, targets = plain.rows.inputs["x"], plain.rows.targets
    assert isinstance(values, Column)
    total, step = 6 * 5, 0
    epochs: list[tuple[float, float, dict[str, Tensor]]] = []
    for epoch in range(6):
        plain.module.train()
        for index in shuffled(torch.arange(35), 8, 5, epoch):
            warm = 0.1 * total
            factor = (step + 1) / (warm + 1) if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))
            for group in optimizer.param_groups:
                group["lr"] = 0.01 * factor
            optimizer.zero_grad()
            nn.functional.cross_entropy(plain.module(values.values[index]), targets[index]).backward()
            optimizer.step()
            step += 1
        plain.module.eval()
        with torch.no_grad():
            scores = TASK.score(plain.module(values.values[35:]), targets[35:])
        state = {name: tensor.clone() for name, tensor in plain.module.state_dict().items()}
        epochs.append((scores["accuracy"], scores["loss"], state))
    # kept: the best mean accuracy of three epochs, then the lowest loss
    smoothed = [sum(a for a, _, _ in epochs[max(i - 2, 0) : i + 1]) / len(epochs[max(i - 2, 0) : i + 1]) for i in range(6)]
    kept = max(range(6), key=lambda i: (round(smoothed[i], 9), -epochs[i][1]))
    for name, tensor in ours.module.state_dict().items():
        torch.testing.assert_close(tensor, epochs[kept][2][name], atol=1e-5, rtol=1e-5)


def test_stops_when_patience_is_out_and_keeps_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.9, 0.6, 0.5, 0.2, 0.1, 0.1, 0.1])  # smoothed: 0.5, 0.7, 0.667, 0.667, 0.433
    seen: list[list[bytes]] = []

    def validate(self: Any) -> dict[str, float]:
        seen.append([tensor.numpy().tobytes() for tensor in self.average.values()])
        return {"loss": 1.0, **dict.fromkeys(TASK.metrics, next(scores))}

    monkeypatch.setattr(loop._State, "_validate", validate)
    ours = job(tmp_path, epochs=20, patience=3)
    trained = train(ours, Console(quiet=True))
    assert trained.best_epoch == 2
    assert len(trained.history) == 5
    assert bits(ours.module) == seen[1]


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(0.60, 1.0), (0.80, 0.9), (0.60, 0.1)], 2),
        ([(0.80, 0.9), (0.80, 0.5), (0.80, 0.7)], 2),  # as accurate: the lower loss
        ([(0.60, 0.9), (0.90, 1.4), (0.70, 0.8), (0.80, 0.7), (0.80, 0.8)], 4),  # 0.75, 0.733, 0.8, 0.767: not the lucky one
        ([(0.60, 0.2), (0.70, 0.9)], 2),
    ],
)
def test_the_best_epoch_is_that_of_the_smoothed_metric_then_of_the_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scores: list[tuple[float, float]], best: int
) -> None:
    queue = iter([{"loss": loss, **dict.fromkeys(TASK.metrics, value)} for value, loss in scores])
    monkeypatch.setattr(loop._State, "_validate", lambda _: next(queue))
    assert train(job(tmp_path, epochs=len(scores)), Console(quiet=True)).best_epoch == best


def test_the_average_of_the_weights_is_what_the_formula_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second step and at the end of the epoch, each time for the steps since."""
    monkeypatch.setattr(loop, "AVERAGE_EVERY", 2)
    ours = job(tmp_path, ema=0.5)
    state = loop._State(ours, Console(quiet=True))
    name, since = "0.weight", 0
    average = state.average[name].clone()
    batches = shuffled(torch.arange(35), 8, 5, 0)
    assert len(batches) == 5
    for step, index in enumerate(batches, 1):
        state.take_step(ours.rows.gather(index))
        since += 1
        if step % 2 == 0:
            decay = min(0.5, step / (step + 10)) ** since
            average, since = decay * average + (1 - decay) * ours.module.state_dict()[name], 0
        torch.testing.assert_close(state.average[name], average)
    state.end_epoch()
    decay = min(0.5, 5 / 15) ** 1
    torch.testing.assert_close(state.average[name], decay * average + (1 - decay) * ours.module.state_dict()[name])


def test_a_rehearsal_changes_nothing(tmp_path: Path) -> None:
    """Trained on from where a race left it, a job ends with the bits of one that never raced."""
    straight = job(tmp_path / "straight")
    train(straight, Console(quiet=True))
    raced = job(tmp_path / "raced")
    assert loop.rehearse(raced, Console(quiet=True), 2, None) == (2, False)
    again = job(tmp_path / "raced")
    train(again, Console(quiet=True))
    assert bits(again.module) == bits(straight.module)


def test_a_rehearsal_ends_with_its_time(tmp_path: Path) -> None:
    assert loop.rehearse(job(tmp_path), Console(quiet=True), None, 0.0) == (1, False)


def test_clipping_in_the_fused_step_is_clipping(tmp_path: Path) -> None:
    """A gradient longer than clip_norm enters the optimizer's first moment at that length."""
    ours = job(tmp_path, dropout=0.0, clip_norm=1e-3)
    state = loop._State(ours, Console(quiet=True))
    state.take_step(ours.rows.gather(torch.arange(8)))
    moments = [state.optimizer.state[p]["exp_avg"] for p in state.trainable]
    length = torch.linalg.vector_norm(torch.stack([m.norm() for m in moments])) / 0.1
    assert float(length) == pytest.approx(1e-3, rel=1e-3)


def test_a_loss_that_is_not_finite_says_what_to_try(tmp_path: Path) -> None:
    broken = job(tmp_path)
    broken.rows.inputs["x"].values[3] = float("nan")  # type: ignore[union-attr]
    with pytest.raises(MmcliError, match=r"the loss is nan in epoch 1\n.*training\.learning_rate=0\.0025"):
        train(broken, Console(quiet=True))


def test_the_log_has_a_row_an_epoch(tmp_path: Path) -> None:
    train(job(tmp_path), Console(quiet=True))
    with (tmp_path / loop.LOG).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert {"train_loss", "val_loss", "val_accuracy", "learning_rate"} <= set(rows[0])


def test_seeds_are_apart_for_each_name() -> None:
    assert derive_seed(0, "a", "cnn") == derive_seed(0, "a", "cnn")
    assert len({derive_seed(s, n, "cnn") for s in range(3) for n in "abc"}) == 9


def test_a_batch_in_parts_takes_the_same_steps(tmp_path: Path) -> None:
    """Without statistics over a batch, gradients added up are those of the whole."""

    def linear(folder: Path, **options: Any) -> Job:
        found = job(folder, dropout=0.0, **options)
        found.module[1] = nn.Identity()  # type: ignore[index]
        return found

    whole, parts = linear(tmp_path / "whole"), linear(tmp_path / "parts", accumulate=3)
    sizes: list[int] = []
    own = parts.step
    parts = with_loss(parts, lambda batch: (sizes.append(len(batch)), own(batch))[1])
    train(whole, Console(quiet=True))
    train(parts, Console(quiet=True))
    assert max(sizes) == 3  # of 8
    assert min(sizes) == 2
    for one, other in zip(whole.module.parameters(), parts.module.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")]
)
def test_out_of_memory_halves_what_is_computed_at_once_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: RuntimeError
) -> None:
    ours = job(tmp_path / "ours", epochs=1)
    sizes: list[int] = []

    def loss(batch: Batch) -> Tensor:
        if len(batch) > 3:
            raise error
        sizes.append(len(batch))
        return ours.step(batch)  # type: ignore[no-any-return]

    train(with_loss(ours, loss), Console(quiet=True))
    assert sum(sizes) == 35
    said = capsys.readouterr().err
    assert "out of memory on 8 rows; batches are computed in 2 parts of 4 rows" in said
    assert "in 4 parts of 2 rows" in said
    assert "the same steps, but for BatchNorm layers, which see a part at a time, slower" in said
    assert said.count("out of memory") == 2


def test_a_row_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    def loss(batch: Batch) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(MmcliError, match=r"memory runs out even on two rows"):
        train(with_loss(job(tmp_path), loss), Console(quiet=True))


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path: Path) -> None:
    def loss(batch: Batch) -> Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        train(with_loss(job(tmp_path), loss), Console(quiet=True))


def test_the_largest_batch_is_bound_by_what_rows_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a linear layer 4 -> 8 with a ReLU and one 8 -> 2, a row keeps 4 inputs and 8 activations, and little of the loss."""
    ours = job(tmp_path, dropout=0.0)
    ours.module[1] = nn.Identity()  # type: ignore[index]
    before = bits(ours.module)
    kept = fitting.kept_bytes(ours, torch.arange(8)) / 8
    assert 4 * (4 + 8) <= kept <= 4 * (4 + 8 + 8)
    assert bits(ours.module) == before
    assert fitting.largest_batch(ours)[0] == 4  # of 35 rows: eight steps an epoch
    weights = 4 * sum(p.numel() * 4 for p in ours.module.parameters())
    monkeypatch.setattr(fitting, "free_memory", lambda _: (weights + 2.5 * kept * fitting.WORKSPACE) / fitting.SHARE)
    size, why = fitting.largest_batch(ours)
    assert size == 2
    assert "a row keeps" in why


def test_a_profile_says_where_the_time_goes(tmp_path: Path) -> None:
    ours = job(tmp_path / "ours")
    before = bits(ours.module)
    found = profiling.profiled(ours, tmp_path / "profile")
    assert set(found.shares) == {"data", "forward", "backward", "optimizer", "the loop"}
    assert sum(found.shares.values()) == pytest.approx(1, abs=1e-6)
    assert found.shares["backward"] > 0.02
    assert "aten::" in found.words
    assert "rows/s" in found.words
    events = json.loads((tmp_path / "profile" / profiling.TRACE).read_text())["traceEvents"]
    assert sum(event.get("name") == "step" for event in events) >= profiling.STEPS
    assert json.loads((tmp_path / "profile" / profiling.SUMMARY).read_text())["said"] == found.words
    assert bits(ours.module) == before


class Judge:
    """The task, with a given opinion of whether the best epoch is better than the last."""

    def __init__(self, low: float) -> None:
        self.low = low

    def __getattr__(self, name: str) -> Any:
        return getattr(TASK, name)

    def gain(self, outputs: Tensor, other: Tensor, targets: Tensor) -> Interval:
        assert not torch.equal(outputs, other)
        return Interval(self.low + 1, self.low, self.low + 2, len(targets))


@pytest.mark.parametrize(("low", "kept"), [(0.1, "best"), (0.0, "last")])
def test_the_last_epoch_is_kept_where_val_cannot_tell_it_from_the_best(tmp_path: Path, low: float, kept: str) -> None:
    options = {"epochs": 12, "patience": 1, "learning_rate": 0.05}
    best = train(replace(job(tmp_path / "a", **{**options, "patience": 99})), Console(quiet=True))
    assert best.best_epoch < 12, "this run must overshoot to show anything"
    ours = replace(job(tmp_path / "b", keep="last", **options), task=Judge(low))
    found = train(ours, Console(quiet=True))
    assert len(found.history) == 12, "patience ends nothing"
    epoch = best.best_epoch if kept == "best" else 12
    assert found.best_epoch == epoch
    assert found.val["loss"] == best.history[epoch - 1]["val_loss"]
    val = ours.rows.splits["val"]
    assert TASK.score(loop.outputs_of(ours, val), ours.rows.targets[val])["loss"] == pytest.approx(found.val["loss"], abs=1e-6)


def test_weights_are_exchanged_in_place() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    parameter, before = module[0].weight, module[0].weight.detach().clone()
    other = {name: torch.ones_like(tensor) for name, tensor in module.state_dict().items()}
    weights.exchange(module, other)
    assert module[0].weight is parameter, "an optimizer goes on with it"
    assert bool((module[0].weight == 1).all())
    assert int(module[1].num_batches_tracked) == 1
    torch.testing.assert_close(other["0.weight"], before)
    weights.exchange(module, other)
    torch.testing.assert_close(module[0].weight.detach(), before)
    assert module[0].weight.data_ptr() != other["0.weight"].data_ptr()
    shared = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    shared[1].weight = shared[0].weight
    before, twos = shared[0].weight.detach().clone(), torch.full((2, 2), 2.0)
    other = {"0.weight": twos.clone(), "1.weight": twos.clone()}
    weights.exchange(shared, other)
    assert bool((shared[0].weight == 2).all())
    weights.exchange(shared, other)
    torch.testing.assert_close(shared[0].weight.detach(), before)


def test_a_soup_is_taken_only_where_val_is_better_for_it(tmp_path: Path) -> None:
    options = {"epochs": 12, "patience": 99, "learning_rate": 0.05, "ema": 0}
    plain = train(job(tmp_path / "a", **options), Console(quiet=True))
    ours = job(tmp_path / "b", soup=6, **options)
    found = train(ours, Console(quiet=True))
    assert found.best_epoch == plain.best_epoch
    assert found.soup[0] == plain.best_epoch
    assert len(found.soup) > 1, "this run must take something in to show anything"
    before, after = plain.val, found.val
    assert (after["accuracy"], -after["loss"]) > (before["accuracy"], -before["loss"])
    val = ours.rows.splits["val"]
    assert TASK.score(loop.outputs_of(ours, val), ours.rows.targets[val])["loss"] == pytest.approx(after["loss"], abs=1e-6)


def test_a_stop_that_is_told_ends_it_whatever_val_says(tmp_path: Path) -> None:
    """The last of the epochs that are told is kept, averaged, the rate coming down as it would in all of them."""
    whole = train(job(tmp_path / "whole", epochs=20, patience=1, learning_rate=0.3), Console(quiet=True))
    assert len(whole.history) < 13, "val alone would end it before"
    stopped = replace(job(tmp_path / "told", epochs=20, patience=1, learning_rate=0.3), stop=13, watch=lambda _: True)
    found = train(stopped, Console(quiet=True))
    assert found.best_epoch == len(found.history) == 13
    assert found.history[: len(whole.history)] == whole.history
    rates = [row["learning_rate"] for row in found.history]
    assert rates[-1] == pytest.approx(0.3 * 0.5 * (1 + math.cos(math.pi * (13 * 5 - 1 - 10) / 90)))
    longer = replace(job(tmp_path / "longer", epochs=6), stop=60)
    assert len(train(longer, Console(quiet=True)).history) == 6
    plain = job(tmp_path / "plain", epochs=9, patience=20, keep="last")
    last = replace(job(tmp_path / "last", epochs=9, patience=20), stop=9)
    train(last, Console(quiet=True))
    kept = train(plain, Console(quiet=True))
    assert kept.best_epoch == 9
    assert bits(last.module) == bits(plain.module)
