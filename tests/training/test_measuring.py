"""How to compute is measured once, remembered for the machine, forced by what is said, and changes no weight."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmcli.reporting.console import Console
from mmcli.training import measuring
from mmcli.training.config import ComputeConfig
from mmcli.training.device import Compute
from tests.training.test_loop import bits, job

QUIET = Console(quiet=True)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measuring, "_idle_share", lambda: None)
    return tmp_path / "cache" / "compute.json"


def test_the_faster_way_is_taken_and_remembered(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default takes a second a step, bfloat16 half of it, one thread more: what is measured, decides."""
    asked = []

    def seconds(_: object, compute: Compute) -> float:
        asked.append(compute)
        return (1.0 if compute.precision == "float32" else 0.5) + (0.5 if compute.threads == 2 else 1.0) + 0.2 * compute.fused

    monkeypatch.setattr(measuring, "_seconds_a_step", seconds)
    ours = job(tmp_path)
    ours = replace(ours, compute=Compute(torch.device("cpu"), "float32", threads=4))
    monkeypatch.setattr(measuring, "SHORT_S", 1.0)
    chosen = measuring.tuned(ours, QUIET).compute
    assert (chosen.precision, chosen.threads, chosen.fused) == ("bfloat16", 2, False)
    count = len(asked)
    assert count == 4  # the start, the precision, the optimizer, the threads; there is no convolution to lay out
    (ours.folder / measuring.CHOICE).unlink()
    assert measuring.tuned(ours, QUIET).compute == chosen
    assert len(asked) == count
    assert next(iter(json.loads(cache.read_text()).values()))["values"]["precision"] == "bfloat16"


def test_what_is_said_is_not_measured(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_seconds_a_step", lambda *_: pytest.fail("measured"))
    ours = replace(job(tmp_path), compute=Compute(torch.device("cpu"), "float32", threads=2, precision_given=True))
    wanted = ComputeConfig(optimizer="foreach", threads=1, memory_format="contiguous")
    chosen = measuring.tuned(ours, QUIET, wanted).compute
    assert (chosen.precision, chosen.fused, chosen.threads, chosen.compiled) == ("float32", False, 1, False)


def test_short_training_keeps_the_known_way_and_no_weight_changes(cache: Path, tmp_path: Path) -> None:
    ours = job(tmp_path)
    before = bits(ours.module)
    tuned = measuring.tuned(ours, QUIET)
    assert tuned.compute.precision == "float32"
    assert bits(ours.module) == before
    assert not cache.exists()  # it says nothing of longer training with the same shapes
    noted = json.loads((ours.folder / measuring.CHOICE).read_text())
    assert [entry["values"]["precision"] for entry in noted.values()] == [
        "float32"
    ]  # so that a resumed run does not choose anew


def test_a_long_run_is_measured_though_a_short_one_was_not(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_seconds_a_step", lambda _, compute: 1.0 if compute.precision == "float32" else 0.5)
    short = replace(job(tmp_path), compute=Compute(torch.device("cpu"), "float32", threads=1))
    monkeypatch.setattr(measuring, "SHORT_S", 1e9)
    assert measuring.tuned(short, QUIET).compute.precision == "float32"
    monkeypatch.setattr(measuring, "SHORT_S", 0.0)
    (tmp_path / "long").mkdir()
    assert measuring.tuned(replace(short, folder=tmp_path / "long"), QUIET).compute.precision == "bfloat16"
    assert measuring.tuned(short, QUIET).compute.precision == "float32", "the killed run must go on as it began"


def test_memory_that_runs_out_while_measuring_is_left_to_training(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(measuring, "_seconds_a_step", seconds)
    ours = replace(job(tmp_path), compute=Compute(torch.device("cpu"), "float32", threads=1))
    assert measuring.tuned(ours, QUIET).compute.precision == "float32"


def test_a_damaged_cache_is_no_obstacle(cache: Path, tmp_path: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("{nonsense")
    assert measuring.tuned(job(tmp_path), QUIET).compute.precision == "float32"


def test_nothing_is_chosen_or_remembered_while_others_compute(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_seconds_a_step", lambda _, compute: 1.0 if compute.precision == "float32" else 0.5)
    monkeypatch.setattr(measuring, "SHORT_S", 0.0)
    ours = replace(job(tmp_path), compute=Compute(torch.device("cpu"), "float32", threads=1))
    ticks = iter([(1000, 5000), (1040, 5100)])
    monkeypatch.setattr(measuring, "_idle_share", lambda: next(ticks))
    assert measuring.tuned(ours, QUIET).compute.precision == "float32"
    assert not cache.exists()


def test_a_busy_machine_is_told_by_its_idle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for idle, busy in ((40, True), (95, False)):
        ticks = iter([(1000, 5000), (1000 + idle, 5100)])
        monkeypatch.setattr(measuring, "_idle_share", lambda ticks=ticks: next(ticks))
        assert measuring.others_compute(0.0) is busy
    monkeypatch.setattr(measuring, "_idle_share", lambda: None)
    assert not measuring.others_compute(0.0)


def test_a_way_that_does_not_work_here_is_passed_over(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def seconds(_: object, compute: Compute) -> float:
        if not compute.fused:
            raise RuntimeError("no such kernel\nand more")
        return 1.0 if compute.precision == "float32" else 0.5

    monkeypatch.setattr(measuring, "_seconds_a_step", seconds)
    ours = replace(job(tmp_path), compute=Compute(torch.device("cpu"), "float32", threads=1))
    monkeypatch.setattr(measuring, "SHORT_S", 0.0)
    chosen = measuring.tuned(ours, Console(verbose=True)).compute
    assert (chosen.precision, chosen.fused) == ("bfloat16", True)
    assert "AdamW does not work here (no such kernel)" in capsys.readouterr().err
