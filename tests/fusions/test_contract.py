"""What every fusion must do, whatever it is: a new file is tested the moment it exists."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmcli import registry
from mmcli.encoders import parameter_count
from mmcli.fusions import Fusion
from mmcli.signals import Decision, Features

NAMES = list(registry.parts("fusions"))
WIDTHS = (8, 5, 12, 3)
ROWS = 6
DECISION = Decision(5, "softmax")


def dims(columns: int) -> dict[str, int]:
    return {f"column {i}.{'abcd'[i]}": WIDTHS[i] for i in range(columns)}


def features(columns: int, seed: int = 0) -> dict[str, Features]:
    """Row 1 lacks the last column, row 2 lacks all; columns and rows differ in their numbers of tokens."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for place, (name, width) in enumerate(dims(columns).items()):
        present = torch.ones(ROWS, dtype=torch.bool)
        present[1] = place < columns - 1
        present[2] = False
        tokens = (4, 1, 5, 2)[place]
        mask = torch.arange(tokens)[None] < torch.tensor([4, 1, 2, 3, 1, 5]).clamp(max=tokens)[:, None]
        pooled = torch.randn(ROWS, width, generator=generator)
        outputs = torch.randn(ROWS, DECISION.width + 2, generator=generator)  # two numbers that are the task's own
        made[name] = Features(pooled, torch.randn(ROWS, tokens, width, generator=generator), mask, present, outputs)
    return made


def build(name: str, columns: int) -> Fusion:
    torch.manual_seed(0)
    part = registry.load("fusions", name)
    fusion: Fusion = part(registry.config_of(part)(), dims(columns), *decision(name))
    return fusion.eval()


def decision(name: str) -> list[Decision]:
    """What methods that fuse decisions are built with besides."""
    return [DECISION] if registry.load("fusions", name).family == "decision" else []


def noisy(own: Features, row: int | None = None) -> Features:
    """With everything that a method could look at changed, in one row or in all."""
    generator = torch.Generator().manual_seed(7)
    assert own.outputs is not None
    changed = [x.clone() for x in (own.pooled, own.tokens, own.outputs)]
    for values in changed:
        noise = torch.randn(values.shape, generator=generator)
        values[slice(None) if row is None else row] = noise[slice(None) if row is None else row]
    return Features(changed[0], changed[1], own.mask, own.present, changed[2])


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_inputs_with_absent_rows(name: str, columns: int) -> None:
    fusion = build(name, columns)
    fused = fusion(features(columns))
    assert fused.pooled.shape == (ROWS, fusion.dim)
    assert fused.pooled.isfinite().all()
    if fused.weights is not None:
        assert fused.weights.shape == (ROWS, columns)
        torch.testing.assert_close(fused.weights.sum(1), torch.ones(ROWS))
    if columns == 1:
        assert list(fusion.columns) == list(dims(1))


@pytest.mark.parametrize("name", [n for n in NAMES if registry.load("fusions", n).absent_inputs == "masked"])
def test_an_absent_column_counts_for_nothing_where_it_is_masked(name: str) -> None:
    fusion = build(name, 3)
    one = features(3)
    other = dict(one)
    last = list(one)[-1]
    other[last] = noisy(one[last], row=1)
    assert torch.equal(fusion(one).pooled[1], fusion(other).pooled[1])
    weights = fusion(one).weights
    if weights is not None:
        assert weights[1, -1] == 0


@pytest.mark.parametrize("name", NAMES)
def test_every_present_column_counts(name: str) -> None:
    fusion = build(name, 3)
    one = features(3)
    for column in one:
        other = dict(one)
        other[column] = noisy(one[column])
        assert not torch.allclose(fusion(one).pooled[0], fusion(other).pooled[0])


@pytest.mark.parametrize("name", NAMES)
def test_rows_do_not_see_each_other(name: str) -> None:
    fusion = build(name, 3)
    whole = features(3)
    for row in range(ROWS):
        alone = fusion({column: f.gather(torch.tensor([row])) for column, f in whole.items()})
        torch.testing.assert_close(alone.pooled[0], fusion(whole).pooled[row])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name: str) -> None:
    fusion = build(name, 3).train()
    if not parameter_count(fusion):
        return
    fused = fusion(features(3))
    (fused.pooled * torch.randn(fused.pooled.shape)).sum().backward()
    for parameter_name, parameter in fusion.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_dict_is_nothing(name: str) -> None:
    fusion = build(name, 3)
    whole = features(3)
    backwards: dict[str, Any] = dict(reversed(whole.items()))
    assert torch.equal(fusion(whole).pooled, fusion(backwards).pooled)


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_is_the_same(name: str) -> None:
    fusion, whole = build(name, 3), features(3)
    torch.manual_seed(5)
    part = registry.load("fusions", name)
    other = part(registry.config_of(part)(), dims(3), *decision(name)).eval()
    other.load_state_dict(fusion.state_dict())
    assert torch.equal(fusion(whole).pooled, other(whole).pooled)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16(name: str) -> None:
    fusion = build(name, 2).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused = fusion(features(2))
        penalty = fusion.penalty(fused, torch.arange(ROWS) % DECISION.width)
    if parameter_count(fusion):
        (fused.pooled.float().sum() + (0.0 if penalty is None else penalty)).backward()
    assert all(p.grad.isfinite().all() for p in fusion.parameters() if p.grad is not None)
    assert fused.pooled.float().isfinite().all()


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_as_the_formula_says(name: str, columns: int) -> None:
    part = registry.load("fusions", name)
    config = registry.config_of(part)()
    assert parameter_count(build(name, columns)) == part.parameter_formula(config, dims(columns), *decision(name))
