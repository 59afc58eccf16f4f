"""One step is one module: what hooks its forward sees all that is minimised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from mmcli.reporting.console import Console
from mmcli.training.loop import train
from mmcli.training.steps import AdamW
from tests.training.test_loop import job


def test_each_step_of_training_is_one_call_of_the_step(tmp_path: Path) -> None:
    ours, losses = job(tmp_path, epochs=3), []  # type: ignore[var-annotated]
    ours.step.register_forward_hook(lambda _, __, loss: losses.append((loss.dim(), loss.requires_grad)))
    train(ours, Console(quiet=True))
    assert losses == [(0, True)] * 3 * 5  # 35 rows in batches of 8


def test_data_parallelism_gives_the_gradient_of_the_step_itself(tmp_path: Path) -> None:
    ours = job(tmp_path / "ours", dropout=0.0)
    batch = ours.rows.gather(ours.rows.splits["train"])
    ours.step(batch).backward()
    expected = [parameter.grad.clone() for parameter in ours.module.parameters() if parameter.grad is not None]
    ours.step.zero_grad()
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        reduced: list[Any] = []
        wrapped = DistributedDataParallel(ours.step)
        wrapped.register_comm_hook(None, lambda _, bucket: _noted(reduced, bucket))
        wrapped(batch).backward()
    finally:
        distributed.destroy_process_group()
    found = [parameter.grad for parameter in ours.module.parameters()]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert sum(reduced) == sum(gradient.numel() for gradient in expected)  # every one went through the wrapper


def test_where_parts_are_not_the_same_step_it_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = "BatchNorm layers see a part at a time, so the steps are not those of whole batches"
    for place, (parts, batch_norm) in enumerate([(1, True), (4, False), (4, True)]):
        found = job(tmp_path / str(place), epochs=1, accumulate=parts)
        if not batch_norm:
            found.module[1] = nn.Identity()  # type: ignore[index]
        train(found, Console(quiet=True))
        assert (f"warning: test: training.accumulate = 4: {said}" in capsys.readouterr().err) == (parts > 1 and batch_norm)


def _noted(reduced: list[Any], bucket: Any) -> Any:
    reduced.append(bucket.buffer().numel())
    done: Any = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


@pytest.mark.parametrize("fused", [False, True])
def test_the_optimizer_is_torchs(fused: bool) -> None:
    found = []
    for kind in (AdamW, torch.optim.AdamW):
        torch.manual_seed(0)
        layer = nn.Linear(3, 2)
        optimizer = kind(layer.parameters(), lr=0.1, weight_decay=0.2, fused=fused)
        for number in range(4):
            layer(torch.randn(5, 3)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            assert layer.weight.grad is None
            if number == 1:  # goes on from what was saved
                state = optimizer.state_dict()
                optimizer = kind(layer.parameters(), lr=0.5, fused=fused)
                optimizer.load_state_dict(state)
        found.append([*layer.state_dict().values(), optimizer.state_dict()["state"][0]["exp_avg_sq"]])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
