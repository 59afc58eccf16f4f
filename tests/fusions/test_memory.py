"""What heads that read tokens find: each kind of memory against values computed by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli import registry
from mmcli.errors import ConfigError
from mmcli.fusions import Fusion, leading, runs_hidden
from mmcli.models.networks import FusionHead
from mmcli.models.recipe import build_answer, build_fusion, build_head
from mmcli.signals import Features
from tests.tasks.test_contract import fitted
from tests.tasks.toys import Counting, Spelling

ROWS, TOKENS = 3, {"a": 4, "b": 2, "c": 3}
WIDTHS = {"a": 5, "b": 3, "c": 4}


def given(lengths: dict[str, list[int]] | None = None, absent: dict[str, list[int]] | None = None) -> dict[str, Features]:
    """Columns of three rows, with so many tokens each; absent ones have one, as from a model."""
    torch.manual_seed(1)
    made = {}
    for name, width in WIDTHS.items():
        present = torch.ones(ROWS, dtype=torch.bool)
        present[(absent or {}).get(name, [])] = False
        own = torch.tensor((lengths or {}).get(name, [TOKENS[name]] * ROWS))
        own = torch.where(present, own, 1)
        mask = torch.arange(TOKENS[name])[None] < own[:, None]
        made[name] = Features(torch.randn(ROWS, width), torch.randn(ROWS, TOKENS[name], width), mask, present)
    return made


def made(method: str, **options: Any) -> Fusion:
    torch.manual_seed(0)
    kind = registry.load("fusions", method)
    fusion: Fusion = kind(registry.config_of(kind)(**options), WIDTHS)
    return fusion.eval()


def tokens_of(fusion: Fusion, features: dict[str, Features]) -> tuple[Tensor, Tensor]:
    fused = fusion.remembered(features)
    assert fused.tokens is not None
    assert fused.mask is not None
    return fused.tokens, fused.mask


def test_concat_puts_each_token_beside_the_other_columns() -> None:
    features = given()
    tokens, mask = tokens_of(made("concat", hidden=0), features)
    a, b, c = (features[name] for name in "abc")
    assert mask.all()
    assert torch.equal(tokens[1, 2], torch.cat([a.tokens[1, 2], b.pooled[1], c.pooled[1]]))
    assert torch.equal(tokens[2, 4 + 1], torch.cat([a.pooled[2], b.tokens[2, 1], c.pooled[2]]))
    assert torch.equal(tokens[0, 4 + 2 + 2], torch.cat([a.pooled[0], b.pooled[0], c.tokens[0, 2]]))


def test_the_gate_of_gated_opens_token_by_token() -> None:
    features, fusion = given(absent={"c": [1]}), made("gated", hidden=6)
    tokens, mask = tokens_of(fusion, features)
    assert mask.sum(1).tolist() == [9, 6, 9]  # the absent column is left out
    place: Any = fusion
    pooled = [features["a"].pooled[0], features["b"].tokens[0, 1], features["c"].pooled[0]]
    normed = [norm(x) for norm, x in zip(place.norms, pooled, strict=True)]
    hidden = torch.stack([transform(x).tanh() for transform, x in zip(place.transforms, normed, strict=True)])
    gates = (place.gate.weight @ torch.cat(normed)).reshape(3, 6).softmax(0)
    torch.testing.assert_close(tokens[0, 5], (gates * hidden).sum(0))


def test_sequential_reads_a_token_after_the_columns_before_its_own() -> None:
    features, fusion = given(), made("sequential", hidden=6)
    place: Any = fusion
    state = torch.zeros(1, 6)
    for m, x in enumerate([features["a"].pooled[0], features["b"].tokens[0, 1], features["c"].pooled[0]]):
        state = place.cell(place.projections[m](place.norms[m](x))[None], state)
    torch.testing.assert_close(tokens_of(fusion, features)[0][0, 5], state[0])


def test_memory_puts_projected_tokens_side_by_side() -> None:
    features, fusion = given({"a": [4, 2, 1]}, absent={"b": [2]}), made("memory", hidden=7)
    tokens, mask = tokens_of(fusion, features)
    project: Any = fusion.project
    for m, (name, start) in enumerate((("a", 0), ("b", 4), ("c", 6))):
        normed = F.layer_norm(features[name].tokens, (WIDTHS[name],))
        expected = normed @ project.linears[m].weight.T + project.linears[m].bias + project.column[m]
        torch.testing.assert_close(tokens[:, start : start + TOKENS[name]], expected)
    assert mask.sum(1).tolist() == [9, 7, 1 + 1 + 3]  # the embedding of the absent column is its one token
    torch.testing.assert_close(fusion(features).pooled[2], tokens[2, [0, 4, 6, 7, 8]].mean(0))


def test_training_hides_runs_of_the_first_column_and_of_no_other() -> None:
    torch.manual_seed(0)
    mask = torch.arange(50)[None] < torch.tensor([50, 20]).repeat(1000)[:, None]
    gone = (runs_hidden(torch.ones(2000, 50, 1), mask, 0.2)[..., 0] == 0) & mask
    share = gone.sum(1) / mask.sum(1)
    assert float(share.mean()) == pytest.approx(0.2, abs=0.01)
    assert float(share.max()) < 0.4 + 1e-6
    assert int((gone[:, 1:] & ~gone[:, :-1]).sum(1).max()) <= 1  # one run
    features, fusion = given(), made("memory", dropout=0.0, hide=0.5).train()
    hidden = torch.stack([tokens_of(fusion, features)[0].abs().sum(-1) == 0 for _ in range(20)])
    assert hidden[..., :4].any()
    assert not hidden[..., 4:].any()
    kind: Any = registry.load("fusions", "memory")
    alone = kind(registry.config_of(kind)(dropout=0.0, hide=0.5), {"a": 5}).train()
    assert not any((alone(features).tokens == 0).all(-1).any() for _ in range(20))


def test_the_lead_is_the_first_column_that_is_there() -> None:
    features = given({"a": [4, 3, 2]}, absent={"a": [1]})
    tokens, mask, leads = leading(
        [features[name].tokens[..., :3] for name in "abc"],
        [features[name].mask & features[name].present[:, None] for name in "abc"],
    )
    assert leads.tolist() == [0, 1, 0]
    assert mask.sum(1).tolist() == [4, 2, 2]
    assert torch.equal(tokens[1, :2], features["b"].tokens[1])
    assert torch.equal(tokens[2, :2], features["a"].tokens[2, :2, :3])
    assert not tokens[2, 2:].any()


def test_cross_attention_gives_what_the_leads_tokens_found() -> None:
    features, fusion = given(absent={"a": [1]}), made("cross-attention", hidden=8, heads=2)
    tokens, mask = tokens_of(fusion, features)
    assert mask.sum(1).tolist() == [4, 2, 4]
    own: Any = fusion
    a, b, c = own.project([features[name].tokens for name in "abc"])
    here = torch.ones(1, 5, dtype=torch.bool)
    torch.testing.assert_close(tokens[0], own.blocks[0](a[:1], torch.cat([b, c], 1)[:1], here)[0])
    found = own.blocks[1](b[1:2], torch.cat([a, c], 1)[1:2], torch.tensor([[False] * 4 + [True] * 3]))
    torch.testing.assert_close(tokens[1, :2], found[0])


def test_tokens_are_joined_where_the_task_needs_each_of_them_and_nowhere_else() -> None:
    classes, texts = fitted("classification"), _Features()
    for answer in (build_answer({"name": "linear", "config": {}}, classes, 6), Counting(texts, 6)):
        fusion = build_fusion("gated", {"hidden": 6}, WIDTHS, answer.task)
        fused = FusionHead(fusion, answer, WIDTHS, {name: name for name in WIDTHS}).eval()(given()).fused
        assert (fused.tokens is not None) == (answer.task is texts)


class _Features(Spelling):
    """Texts that go with methods of features."""

    fusion_families = ("feature", "token")


def test_a_head_that_reads_steps_names_the_methods_that_give_them() -> None:
    task = fitted("text")
    arguments = (WIDTHS, {name: name for name in WIDTHS}, task, {"name": "ctc", "config": {}})
    for method in ("gated", "memory", "perceiver", "attention"):
        with pytest.raises(ConfigError, match=f"{method} gives no tokens in the order of a leading column") as error:
            build_head(method, {}, *arguments)
        assert "--method cross-attention or gated-cross-attention" in str(error.value.remedy)
    for method in ("cross-attention", "gated-cross-attention"):
        assert build_head(method, {}, *arguments).fusion.memory == "lead"
