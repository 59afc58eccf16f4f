"""What lies where, how it gets there, and how precisely a device multiplies: told to a device that is not there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from mmcli.signals import Batch, Column, sent
from mmcli.training import data, device, measuring
from mmcli.training.config import ComputeConfig
from mmcli.training.data import Hosted, Lane, Rows
from mmcli.training.device import Compute

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def of_size(numbers: int) -> Column:
    return Column(torch.zeros(4, numbers), torch.ones(4, dtype=torch.bool))


def test_what_fits_goes_to_the_device_though_something_before_it_did_not() -> None:
    sizes = {"small": 10, "large": 1000, "next": 20, "last": 30}
    columns = {name: of_size(numbers) for name, numbers in sizes.items()}
    room = columns["small"].nbytes + columns["next"].nbytes
    placed = Rows(columns, torch.arange(4), {}, {}).to(CPU, room=room).inputs
    assert [name for name, own in placed.items() if isinstance(own, Hosted)] == ["large", "last"]


def test_what_the_allocator_keeps_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 70)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 30)
    assert device.free_memory(CUDA) == 140
    assert data._room(CUDA) == 70


def test_small_tensors_are_sent_from_memory_that_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the host waits until the copy is made."""
    calls: list[Any] = []

    def pinned(self: Tensor) -> Tensor:
        calls.append("pinned")
        return self

    def to(self: Tensor, *where: Any, **how: Any) -> Tensor:
        calls.append((*where, how))
        return self

    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    monkeypatch.setattr(torch.Tensor, "to", to)
    sent(torch.ones(2), CUDA)
    assert calls == ["pinned", (CUDA, {"non_blocking": True})]
    calls.clear()
    Hosted(of_size(3), CUDA).gather(torch.tensor([2, 0]))
    assert [call for call in calls if call == "pinned"] == ["pinned"] * 3  # values, present, and which are there
    assert calls.count((CUDA, {"non_blocking": True})) == 3


class Stream:
    """Notes what is asked of it."""

    def __init__(self, name: str, log: list[Any]) -> None:
        self.name, self.log = name, log

    def wait_stream(self, other: Stream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")

    def record_event(self) -> str:
        self.log.append(f"{self.name} will say when it is there")
        return "event"

    def wait_event(self, event: str) -> None:
        self.log.append(f"{self.name} waits for the {event}")


def test_batches_are_copied_beside_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a stream of their own, for which that of the steps waits, not the host; and their memory is kept until it is read."""
    log: list[Any] = []
    main = Stream("main", log)

    @contextlib.contextmanager
    def within(stream: Stream) -> Iterator[None]:
        log.append(f"in {stream.name}")
        yield
        log.append(f"out of {stream.name}")

    monkeypatch.setattr(torch.cuda, "Stream", lambda _: Stream("beside", log))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: main)
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda _, stream: log.append(f"kept for {stream.name}"))
    lane, column = Lane(CUDA), of_size(2)

    def gather(index: Tensor) -> Batch:
        log.append("gathers")
        return Batch(index, {"x": column.gather(index)}, index)

    made = lane.make(gather, torch.tensor([1, 3]))
    beside = ["beside waits for main", "in beside", "gathers", "beside will say when it is there", "out of beside"]
    assert log == beside
    log.clear()
    assert lane.hand_over(made) is made[0]
    assert log[0] == "main waits for the event"
    assert log[1:] == ["kept for main"] * 5  # values, present, which are there; row ids and targets


def test_on_a_cpu_there_is_no_stream() -> None:
    rows = Rows({"x": Hosted(of_size(2), CPU)}, torch.arange(4), {}, {})
    assert [batch.targets.tolist() for batch in rows.ahead([torch.tensor([3, 1]), torch.tensor([0])])] == [[3, 1], [0]]


def test_batches_are_chosen_on_the_host() -> None:
    """So that what is known of their rows there need not be asked for."""
    splits = {"train": torch.arange(3)}
    rows = Rows({"x": of_size(2)}, torch.arange(4), splits, {}).to(torch.device("meta"))
    assert rows.splits["train"].device == CPU
    assert rows.targets.device.type == "meta"
    batch = rows.gather(rows.splits["train"])
    assert {batch.row_ids.device.type, batch.targets.device.type, batch.inputs["x"].values.device.type} == {"meta"}


@pytest.mark.parametrize("tf32", [True, False])
def test_products_are_as_precise_as_told_while_it_trains(tf32: bool) -> None:
    def now() -> tuple[str, bool]:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = now()
    with Compute(CPU, "float32", tf32=tf32).threading():
        assert now() == before
    with Compute(CUDA, "float32", tf32=tf32).threading():
        assert now() == (("high", True) if tf32 else ("highest", False))
    assert now() == before


def test_tf32_is_for_gpus_and_for_those_who_do_not_ask_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not device.choose("cpu").tf32
    monkeypatch.setattr(device, "_device", lambda _: CUDA)
    monkeypatch.setattr(device, "_bfloat16_is_native", lambda _: False)
    assert device.choose("cuda").tf32
    assert "TF32" in device.choose("cuda").described()
    exact = device.choose("cuda", "float32")
    assert not exact.tf32
    assert measuring._start(exact, ComputeConfig(tf32="on")).tf32
    assert not measuring._start(exact, ComputeConfig()).tf32
    assert not measuring._start(device.choose("cuda"), ComputeConfig(tf32="off")).tf32
    assert not measuring._start(Compute(CPU, "float32"), ComputeConfig(tf32="on")).tf32


@pytest.mark.parametrize(
    ("units", "precision"),
    [
        ({"avx512_bf16": True, "amx_bf16": True}, "bfloat16"),
        ({"avx512_bf16": True, "amx_bf16": False}, "float32"),
        ({"avx512_bf16": True}, "float32"),
        ({}, "float32"),
    ],
)
def test_a_processor_computes_in_bfloat16_where_it_has_tiles_for_it(
    monkeypatch: pytest.MonkeyPatch, units: dict[str, bool], precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units, raising=False)
    assert device.choose("cpu").precision == precision
    assert device.choose("cpu", "bfloat16").precision == "bfloat16"  # what is asked for is done
