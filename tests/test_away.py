"""Every stage on a device that is not the host: no operation takes tensors of both, and what was trained there answers the
same on the host."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from mmcli.cli import app
from mmcli.signals import Column
from tests import away
from tests.conftest import SMALL

VALUES = torch.arange(6.0).view(2, 3)


def there() -> torch.Tensor:
    return VALUES.to(away.DEVICE)


def test_what_is_there_is_computed_there() -> None:
    with away.chosen():
        made = there() @ there().T + 1
        assert made.device == away.DEVICE
        assert made.cpu().tolist() == (VALUES @ VALUES.T + 1).tolist()
        made[0] = 7.0
        assert made.sum().item() == 2 * 7 + (3 * 0 + 4 * 1 + 5 * 2 + 1) + (9 + 16 + 25 + 1)


@pytest.mark.parametrize(
    "mixed",
    [
        lambda own: own @ torch.ones(3, 1),
        lambda own: torch.ones(2, 3) + own,
        lambda own: torch.where(own > 1, torch.zeros(2, 3), own),
        lambda own: VALUES[own[0].long()],
        lambda own: torch.cat([own, VALUES]),
    ],
)
def test_what_lies_in_two_places_is_not(mixed: object) -> None:
    assert callable(mixed)
    with away.chosen(), pytest.raises(RuntimeError, match="same device"):
        mixed(there())


def test_single_numbers_and_places_may_come_from_the_host() -> None:
    with away.chosen():
        assert (there() * torch.tensor(2.0)).cpu().tolist() == (VALUES * 2).tolist()
        assert there()[torch.tensor([1])].cpu().tolist() == VALUES[1:].tolist()


def mmcli(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(own) for own in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_every_stage_works_on_a_device_and_its_model_on_the_host(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMCLI_DEBUG", "1")  # what goes wrong is raised
    root = tmp_path / "artifacts"
    with away.chosen():
        assert "on lazy" in mmcli("run", table, "-a", root, "--image-size", "16", *SMALL)
        methods = [part for name in ("late", "lowrank", "moe", "transformer", "perceiver") for part in ("--method", name)]
        mmcli("fuse", *methods, "-a", root, "--seeds", 1, "--epochs", 2)
        mmcli("predict", table, "-a", root, "-o", tmp_path / "there.csv")
    mmcli("predict", table, "-a", root, "--device", "cpu", "-o", tmp_path / "here.csv")
    here, found = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("here", "there"))
    pd.testing.assert_frame_equal(found, here, atol=1e-5)


def test_ragged_columns_are_put_together_where_they_are() -> None:
    with away.chosen():
        parts = [Column(VALUES, torch.ones(2, dtype=torch.bool), torch.tensor([0, 0, 2])).to(away.DEVICE) for _ in range(2)]
        whole = Column.concatenate(parts)
        assert whole.offsets is not None
        assert whole.offsets.device == away.DEVICE
        assert whole.offsets.tolist() == [0, 0, 2, 2, 4]
