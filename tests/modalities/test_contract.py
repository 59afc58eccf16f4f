"""What every modality must do, whatever it is: a new file is tested the moment it exists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcli import registry
from mmcli.modalities import Strength
from mmcli.signals import RAGGED
from tests.conftest import draw, write_clip, write_wave

NAMES = list(registry.parts("modalities"))


@pytest.fixture
def cells(tmp_path: Path) -> dict[str, Sequence[str | None]]:
    """Five cells for each modality: three fine ones, a missing one, and a bad one where there can be one."""
    for number in range(3):
        draw("round", ("red", "blue", "green")[number]).save(tmp_path / f"{number}.png")
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    paths = [str(tmp_path / f"{number}.png") for number in range(3)]
    for number in range(3):
        write_wave(tmp_path / f"{number}.wav", seconds=0.1 * (number + 1))
        write_clip(tmp_path / f"{number}.mp4", frames=4 + number)
    (tmp_path / "bad.wav").write_bytes(b"RIFF, and no more")
    (tmp_path / "bad.mp4").write_bytes(b"not a clip")
    return {
        "image": [*paths, None, str(tmp_path / "bad.png")],
        "text": ["one two", "南瓜灯", "a third", None, "two\n three"],
        "number": ["1.5", "-2", "1,000", None, "many"],
        "category": ["red", "red", "red", None, "green"],
        "date": ["2026-01-31", "2025-12-24", "1999-01-01", None, "yesterday"],
        "vector": ["[1, 2, 3]", "[0.5, 1e3, -2]", "[3, 2, 1]", None, "[1, 2]"],
        "audio": [*(str(tmp_path / f"{number}.wav") for number in range(3)), None, str(tmp_path / "bad.wav")],
        "video": [*(str(tmp_path / f"{number}.mp4") for number in range(3)), None, str(tmp_path / "bad.mp4")],
    }


def equal(one: torch.Tensor, two: torch.Tensor) -> bool:
    """Whether all values are the same, not a number being equal to itself."""
    return one.dtype == two.dtype and one.shape == two.shape and bool(((one == two) | (one != one)).all())


def fitted(name: str, cells: Sequence[str | None]) -> Any:
    kind = registry.load("modalities", name)
    return kind.fit(registry.config_of(kind)(), iter([cell for cell in cells[:3] if cell]))


@pytest.mark.parametrize("name", NAMES)
def test_one_row_to_a_cell_and_the_spec_tells_the_shape(name: str, cells: dict[str, Sequence[str | None]]) -> None:
    modality = fitted(name, cells[name])
    encoded = modality.transform(cells[name])
    column, spec = encoded.column, modality.describe()
    assert len(column) == 5
    assert not column.present[3]
    assert column.present[0]
    assert column.present[1]
    assert column.values.shape[1:] == spec.shape
    assert (column.offsets is not None) == (spec.kind in RAGGED)
    signal = modality.restore(column).gather(torch.tensor([3]))
    assert signal.values.isnan().all() if spec.kind == "fields" else signal.values.abs().sum() == 0
    for reject in encoded.rejects:
        assert not column.present[reject.position]
        assert reject.reason


@pytest.mark.parametrize("name", NAMES)
def test_state_is_json_and_makes_the_same_tensors(name: str, cells: dict[str, Sequence[str | None]]) -> None:
    modality = fitted(name, cells[name])
    again = type(modality).from_state(json.loads(json.dumps(modality.state())))
    one, two = modality.transform(cells[name]).column, again.transform(cells[name]).column
    assert equal(one.values, two.values)
    assert torch.equal(one.present, two.present)


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_does_not_depend_on_its_neighbours(name: str, cells: dict[str, Sequence[str | None]]) -> None:
    modality = fitted(name, cells[name])
    whole = modality.transform(cells[name]).column
    for row, cell in enumerate(cells[name]):
        alone = modality.transform([cell]).column.gather(torch.tensor([0])).values
        assert equal(alone, whole.gather(torch.tensor([row])).values)


@pytest.mark.parametrize("name", NAMES)
def test_no_cells_at_all(name: str, cells: dict[str, Sequence[str | None]]) -> None:
    modality = fitted(name, cells[name])
    assert not modality.transform([None, None]).column.present.any()
    assert len(modality.transform([]).column) == 0


@pytest.mark.parametrize("name", NAMES)
def test_linear_features_have_a_row_to_a_cell(name: str, cells: dict[str, Sequence[str | None]]) -> None:
    modality = fitted(name, cells[name])
    column = modality.restore(modality.transform(cells[name]).column)
    assert modality.linear_features(column, torch.tensor([0, 1])).shape[0] == 5


@pytest.mark.parametrize("strength", ["light", "strong"])
@pytest.mark.parametrize("name", NAMES)
def test_augmenting_varies_values_and_keeps_the_rest(
    name: str, strength: Strength, cells: dict[str, Sequence[str | None]]
) -> None:
    modality = fitted(name, cells[name])
    signal = modality.restore(modality.transform(cells[name]).column).gather(torch.arange(5))
    torch.manual_seed(0)
    one = modality.augment(signal, strength)
    torch.manual_seed(0)
    two = modality.augment(signal, strength)
    assert equal(one.values, two.values)
    assert one.values.shape == signal.values.shape
    assert torch.equal(one.present, signal.present)


@pytest.mark.parametrize("name", NAMES)
def test_sniffing_is_sure_of_its_own(name: str, cells: dict[str, Sequence[str | None]], tmp_path: Path) -> None:
    own = [cell for cell in cells[name][:3] if cell]
    guesses = {other: registry.load("modalities", other).sniff(own, str(tmp_path)) for other in NAMES}
    assert max(guesses, key=lambda other: guesses[other].confidence) == name
    assert guesses[name].reason
