"""What fusing adds around F: absent inputs, modality dropout, swapped features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from mmcli.fusions import Decision, Fusion
from mmcli.fusions.concat import Concat, Config
from mmcli.fusions.late import Config as LateConfig
from mmcli.fusions.late import Late
from mmcli.fusions.memory import Config as MemoryConfig
from mmcli.fusions.memory import Memory
from mmcli.heads.linear import Config as LinearConfig
from mmcli.heads.linear import Linear
from mmcli.jobs.fusion import without_unused_tokens
from mmcli.models.networks import AveragedHeads, FusionHead, _some_hidden, _swapped
from mmcli.signals import Features
from mmcli.tasks.regression import Config as RegressionConfig
from mmcli.tasks.regression import Regression


def features(rows: int, dim: int, present: torch.Tensor | None = None) -> Features:
    values = torch.arange(rows * dim, dtype=torch.float32).reshape(rows, dim)
    here = torch.ones(rows, dtype=torch.bool) if present is None else present
    return Features(values, values[:, None].repeat(1, 2, 1), torch.ones(rows, 2, dtype=torch.bool), here)


def plain(dim: int, numbers: int) -> Linear:
    return Linear(
        LinearConfig(), Regression(RegressionConfig(), [str(i) for i in range(numbers)], [0.0] * numbers, [1.0] * numbers), dim
    )


def head(**options: Any) -> FusionHead:
    dims = {"a/x": 2, "a/y": 3, "b": 2}
    fusion = Concat(Config(hidden=0, dropout=0), dims)
    return FusionHead(fusion, plain(fusion.dim, 4), dims, {"a/x": "a", "a/y": "a", "b": "b"}, **options)


def test_an_absent_input_is_its_embedding_which_starts_at_the_mean_of_those_that_are_there() -> None:
    built = head().eval()
    here = torch.tensor([True, False, True, True])
    given = {"a/x": features(4, 2), "a/y": features(4, 3), "b": features(4, 2, here)}
    built.start_absent(given, torch.tensor([0, 1, 2]))
    assert built.absent[2].tolist() == [(0 + 4) / 2, (1 + 5) / 2]
    filled = Features(given["b"].pooled.clone(), given["b"].tokens, given["b"].mask, torch.ones(4, dtype=torch.bool))
    filled.pooled[1] = torch.tensor([2.0, 3.0])
    assert torch.equal(built(given).outputs, built({**given, "b": filled}).outputs)


def test_modality_dropout_takes_inputs_with_all_their_encoders_and_never_the_last() -> None:
    torch.manual_seed(0)
    rows = 2000
    gone = torch.zeros(rows, dtype=torch.bool)
    gone[:500] = True
    given = {"a/x": features(rows, 2), "a/y": features(rows, 3), "b": features(rows, 2, ~gone)}
    hidden = _some_hidden(given, {"a/x": "a", "a/y": "a", "b": "b"}, 0.4)
    assert torch.equal(hidden["a/x"].present, hidden["a/y"].present)
    assert (hidden["a/x"].present | hidden["b"].present).all()
    assert hidden["a/x"].present[gone].all()
    assert not hidden["b"].present[gone].any()
    # Of two inputs both are drawn away with 0.16, and one of them then stays: each is away in 0.4 - 0.08 of the rows.
    assert abs((~hidden["b"].present[500:]).float().mean().item() - 0.32) < 0.04


def test_swapping_moves_whole_rows_and_as_many_as_told() -> None:
    torch.manual_seed(0)
    given = features(4000, 2)
    swapped = _swapped(given, 0.3)
    source = (swapped.pooled[:, 0] / 2).long()
    assert torch.equal(swapped.tokens, given.tokens[source])
    assert abs((source != torch.arange(4000)).float().mean().item() - 0.3) < 0.03
    assert _swapped(given, 0.0) is given


def test_outside_of_training_nothing_is_hidden_or_swapped() -> None:
    built = head(modality_dropout=0.5).eval()
    built.swap_shares = {"b": 0.9}
    given = {"a/x": features(64, 2), "a/y": features(64, 3), "b": features(64, 2)}
    assert torch.equal(built(given).outputs, built(given).outputs)
    built.train()
    assert not torch.equal(built(given).outputs, built(given).outputs)


def beside(width: int, link: str) -> Fusion:
    """The columns' own predictions, weighted."""
    late = Late(LateConfig(mode="product"), {"a/x": 2, "a/y": 3, "b": 2}, Decision(width, link))  # type: ignore[arg-type]
    with torch.no_grad():
        assert late.preference is not None
        late.preference.copy_(torch.tensor([0.0, 0.0, 2.0]).log_softmax(0))
    return late


def with_outputs(outputs: list[list[float]], here: list[bool] | None = None) -> Features:
    present = None if here is None else torch.tensor(here)
    return replace(features(len(outputs), 2, present), outputs=torch.tensor(outputs))


def test_decisions_are_added_to_what_the_head_says_each_by_its_weight() -> None:
    built = head(decisions=beside(2, "identity")).eval()
    given = {
        "a/x": with_outputs([[1.0, 10.0], [1.0, 10.0]]),
        "a/y": replace(with_outputs([[2.0, 20.0], [2.0, 20.0]]), pooled=torch.ones(2, 3), tokens=torch.ones(2, 2, 3)),
        "b": with_outputs([[4.0, 40.0], [4.0, 40.0]], [True, False]),
    }
    plain = head().eval()
    plain.load_state_dict({name: own for name, own in built.state_dict().items() if not name.startswith("decisions.")})
    change = built(given).outputs - plain(given).outputs
    e2 = 7.389056
    expected = torch.tensor([(1 + 2 + e2 * 4) / (2 + e2), 10 * (1 + 2 + e2 * 4) / (2 + e2)])
    assert torch.allclose(change[0, :2], expected, atol=1e-5)
    assert torch.allclose(change[1, :2], torch.tensor([1.5, 15.0]), atol=1e-5), "an absent column says nothing"
    assert not change[:, 2:].any(), "outputs beyond the decisions are the head's alone"


def test_where_every_input_is_taken_away_nothing_of_them_is_left() -> None:
    built = head(decisions=beside(2, "softmax")).eval()
    gone = [False, False]
    given = {
        "a/x": with_outputs([[9.0, 0.0], [0.0, 9.0]], gone),
        "a/y": replace(with_outputs([[9.0, 0.0], [0.0, 9.0]], gone), pooled=torch.ones(2, 3), tokens=torch.ones(2, 2, 3)),
        "b": with_outputs([[9.0, 0.0], [0.0, 9.0]], gone),
    }
    outputs = built(given).outputs
    assert torch.equal(outputs[0], outputs[1])


def test_a_head_with_decisions_reads_the_columns_own_outputs() -> None:
    assert not head().reads_outputs
    built = head(decisions=beside(2, "identity"))
    assert built.reads_outputs
    with pytest.raises(AssertionError, match="lack the columns' own outputs"):
        built({"a/x": features(2, 2), "a/y": features(2, 3), "b": features(2, 2)})


@pytest.mark.parametrize("reads", [False, True])
def test_tokens_are_left_where_a_method_looks_at_none(reads: bool) -> None:
    """What is trained on and asked holds them only for a method that does; what comes of it is the same."""
    dims = {"a": 3, "b": 3}
    fusion = Memory(MemoryConfig(hidden=4), dims) if reads else Concat(Config(hidden=4), dims)
    heads = FusionHead(fusion, plain(fusion.dim, 1), dims, {"a": "a", "b": "b"}).eval()
    assert heads.reads_tokens is reads
    given = {
        name: replace(features(5, 3), tokens=torch.randn(5, 4, 3), mask=torch.ones(5, 4, dtype=torch.bool)) for name in dims
    }
    kept = without_unused_tokens(AveragedHeads([heads, heads]), given)
    assert {tuple(own.tokens.shape) for own in kept.values()} == {(5, 4, 3) if reads else (5, 1, 3)}
    assert torch.equal(heads(given).outputs, heads(kept).outputs)
    moved = {name: replace(own, tokens=own.tokens + 1) for name, own in given.items()}
    assert torch.equal(heads(given).outputs, heads(moved).outputs) is not reads
