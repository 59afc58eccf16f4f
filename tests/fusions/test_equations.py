"""Each method against its equation, computed another way: row by row, in plain loops over the module's own numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli import registry
from mmcli.errors import ConfigError
from mmcli.fusions import Fusion
from mmcli.fusions.evidential import combined, evidential_loss
from mmcli.layers.blocks import CrossAttention
from mmcli.models import loading
from mmcli.signals import Decision, Features

ROWS, DIMS = 4, {"a": 3, "b": 2, "c": 4}
PRESENT = torch.tensor([[True, True, True], [True, False, True], [False, True, False], [False, False, False]])


def build(name: str, decision: Decision | None = None, **options: Any) -> Any:
    torch.manual_seed(3)
    part = registry.load("fusions", name)
    fusion = part(registry.config_of(part)(**options), DIMS, *([decision] if decision else []))
    for parameter in fusion.parameters():
        nn.init.normal_(parameter, std=0.7)
    return fusion.eval()


def features(width: int = 3) -> dict[str, Features]:
    generator = torch.Generator().manual_seed(1)
    made = {}
    for place, (name, dim) in enumerate(DIMS.items()):
        steps = place + 1
        mask = torch.ones(ROWS, steps, dtype=torch.bool)
        mask[0, -1] = steps == 1
        tokens, pooled = torch.randn(ROWS, steps, dim, generator=generator), torch.randn(ROWS, dim, generator=generator)
        outputs = torch.randn(ROWS, width, generator=generator)
        made[name] = Features(pooled, tokens, mask, PRESENT[:, place], outputs)
    return made


def here(row: int) -> list[int]:
    """The columns that count in a row: those that are there; of a row with none, all."""
    found = [m for m in range(3) if PRESENT[row, m]]
    return found or [0, 1, 2]


def pooled(row: int) -> list[Tensor]:
    return [own.pooled[row] for own in features().values()]


def norm(x: Tensor, layer: Any) -> Tensor:
    centred = x - x.mean()
    return centred / (centred.square().mean() + layer.eps).sqrt() * layer.weight + layer.bias


def projected(fusion: Any, row: int, module: str = "project") -> list[Tensor]:
    own = getattr(fusion, module)
    return [own.linears[m].weight @ norm(x, own.norms[m]) + own.linears[m].bias for m, x in enumerate(pooled(row))]


def check(fusion: Fusion, expected: list[Tensor]) -> None:
    torch.testing.assert_close(fusion(features()).pooled, torch.stack(expected), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pool", ["mean", "sum", "max"])
def test_mean(pool: str) -> None:
    fusion = build("mean", hidden=5, pool=pool)
    rows = [torch.stack([projected(fusion, row)[m] for m in here(row)]) for row in range(ROWS)]
    joined = {"mean": lambda x: x.mean(0), "sum": lambda x: x.sum(0), "max": lambda x: x.max(0).values}[pool]
    check(fusion, [joined(own).relu() for own in rows])


def test_film() -> None:
    fusion = build("film", hidden=5)
    expected = []
    for row in range(ROWS):
        x = pooled(row)
        hidden = fusion.first.linears[0].weight @ norm(x[0], fusion.first.norms[0]) + fusion.first.linears[0].bias
        gamma, beta = torch.zeros(5), torch.zeros(5)
        for m in (1, 2):
            if PRESENT[row, m]:
                own = fusion.others.linears[m - 1]
                both = own.weight @ norm(x[m], fusion.others.norms[m - 1]) + own.bias
                gamma, beta = gamma + both[:5], beta + both[5:]
        expected.append((hidden * (1 + gamma) + beta).relu())
    check(fusion, expected)


def test_highway() -> None:
    fusion = build("highway", hidden=5, layers=2)
    expected = []
    for row in range(ROWS):
        joined = torch.cat([norm(x, fusion.norms[m]) for m, x in enumerate(pooled(row))])
        x = fusion.first.weight @ joined + fusion.first.bias
        for transform, gate in zip(fusion.transforms, fusion.gates, strict=True):
            t = 1 / (1 + (-(gate.weight @ x + gate.bias)).exp())
            x = t * (transform.weight @ x + transform.bias).clamp(min=0) + (1 - t) * x
        expected.append(x)
    check(fusion, expected)
    assert all((gate.bias == -1).all() for gate in registry.load("fusions", "highway")(
        registry.config_of(registry.load("fusions", "highway"))(), DIMS).gates)  # fmt: skip


def test_bilinear_sums_the_products_of_all_pairs() -> None:
    fusion = build("bilinear", hidden=5)
    expected = []
    for row in range(ROWS):
        u, columns = projected(fusion, row), here(row)
        pairs = sum((u[m].tanh() * u[n].tanh() for m in columns for n in columns if m < n), torch.zeros(5))
        expected.append(torch.cat([sum((u[m] for m in columns), torch.zeros(5)).relu(), pairs]))
    check(fusion, expected)


def test_tensor_holds_every_product_of_fewer_columns() -> None:
    fusion = build("tensor", width=2, hidden=5)
    expected = []
    for row in range(ROWS):
        p = [x.relu() if m in here(row) else torch.zeros(2) for m, x in enumerate(projected(fusion, row))]
        one = [torch.cat([torch.ones(1), x]) for x in p]
        places = [(i, j, k) for i in range(3) for j in range(3) for k in range(3)]
        z = torch.stack([one[0][i] * one[1][j] * one[2][k] for i, j, k in places])
        expected.append((fusion.out.weight @ z + fusion.out.bias).relu())
    check(fusion, expected)


def test_tensor_refuses_when_the_product_explodes_and_names_the_way_out() -> None:
    part = registry.load("fusions", "tensor")
    with pytest.raises(ConfigError, match=r"of 12 columns has 282,429,536,481 numbers") as error:
        part(registry.config_of(part)(), dict.fromkeys(map(str, range(12)), 4))
    assert "--method lowrank" in error.value.remedy


def test_lowrank() -> None:
    fusion = build("lowrank", hidden=5, rank=3)
    expected = []
    for row in range(ROWS):
        total = fusion.bias.clone()
        for r in range(3):
            product = torch.ones(5)
            for m, x in enumerate(pooled(row)):
                p = norm(x, fusion.norms[m]) if m in here(row) else torch.zeros_like(x)
                product = product * (
                    fusion.factors[m].weight[5 * r : 5 * r + 5] @ p + fusion.factors[m].bias[5 * r : 5 * r + 5]
                )
            total = total + fusion.weights[r] * product
        expected.append(total)
    check(fusion, expected)


def test_embrace_draws_each_unit_from_a_present_column_and_expects_their_mean() -> None:
    fusion = build("embrace", hidden=400, dropout=0.0)
    docked = [torch.stack([x.relu() for x in projected(fusion, row)]) for row in range(ROWS)]
    check(fusion, [own[here(row)].mean(0) for row, own in enumerate(docked)])
    torch.manual_seed(0)
    drawn = fusion.train()(features()).pooled
    for row in range(ROWS):
        near = (drawn[row] - docked[row]).abs() < 1e-5
        assert near[here(row)].any(0).all()
    first = ((drawn[0] - docked[0][0]).abs() < 1e-5) & (docked[0][0] > 0)
    assert 0.2 < float(first.sum() / (docked[0][0] > 0).sum()) < 0.47


def test_poe_is_the_product_of_the_experts_and_the_prior() -> None:
    fusion = build("poe", hidden=5)
    fused = fusion(features())
    for row in range(ROWS):
        precision, weighted = torch.ones(5), torch.zeros(5)
        for m in here(row):
            both = projected(fusion, row)[m]
            own = 1 / both[5:].clamp(-6, 6).exp()
            precision, weighted = precision + own, weighted + both[:5] * own
        torch.testing.assert_close(fused.pooled[row], weighted / precision, atol=1e-5, rtol=1e-4)
        variance = 1 / precision
        mean = weighted / precision
        divergence = torch.distributions.kl_divergence(
            torch.distributions.Normal(mean, variance.sqrt()), torch.distributions.Normal(0.0, 1.0)
        ).sum()
        alone = {name: own.gather(torch.tensor([row])) for name, own in features().items()}
        penalty = fusion.penalty(fusion(alone), torch.zeros(1))
        torch.testing.assert_close(penalty, 1e-3 * divergence, atol=1e-6, rtol=1e-3)


def test_moe() -> None:
    fusion = build("moe", hidden=5, experts=3)
    expected, used = [], torch.zeros(3)
    for row in range(ROWS):
        x = torch.cat([norm(x, fusion.norms[m]) for m, x in enumerate(pooled(row))])
        gates = (fusion.gate.weight @ torch.cat([x, PRESENT[row].float()]) + fusion.gate.bias).softmax(0)
        experts = (fusion.experts.weight @ x + fusion.experts.bias).relu().reshape(3, 5)
        expected.append(sum((g * e for g, e in zip(gates, experts, strict=True)), torch.zeros(5)))
        used = used + gates / ROWS
    check(fusion, expected)
    torch.testing.assert_close(
        fusion.penalty(fusion(features()), torch.zeros(4)), 0.01 * used.var(unbiased=False) / used.mean() ** 2
    )


def test_conv() -> None:
    fusion = build("conv", hidden=6, channels=2, kernel=3)
    expected = []
    for row in range(ROWS):
        s = torch.stack([x if m in here(row) else torch.zeros(6) for m, x in enumerate(projected(fusion, row))])
        first = convolved(s, fusion.first).relu()
        expected.append((s.sum(0) / len(here(row)) + convolved(first, fusion.second)[0]).relu())
    check(fusion, expected)


def convolved(grid: Tensor, layer: Any) -> Tensor:
    """[channels, width] by loops: each output unit from its neighbours."""
    out = torch.zeros(layer.out_channels, grid.shape[1])
    for o in range(layer.out_channels):
        for i in range(grid.shape[1]):
            out[o, i] = layer.bias[o]
            for k in range(3):
                if 0 <= i + k - 1 < grid.shape[1]:
                    out[o, i] += (layer.weight[o, :, k] * grid[:, i + k - 1]).sum()
    return out


def test_linear_is_the_standardised_features_side_by_side() -> None:
    fusion = build("linear")
    expected = []
    for row in range(ROWS):
        parts = [
            (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt() if m in here(row) else torch.zeros_like(x)
            for m, x in enumerate(pooled(row))
        ]
        expected.append(torch.cat(parts))
    check(fusion, expected)


def tokens_of(fusion: Any, row: int) -> tuple[list[Tensor], list[int]]:
    """The real tokens of a row, projected, and whose they are."""
    found, whose = [], []
    for m, own in enumerate(features().values()):
        for step in range(own.tokens.shape[1]):
            if m in here(row) and own.mask[row, step]:
                x = norm(own.tokens[row, step], fusion.project.norms[m])
                found.append(fusion.project.linears[m].weight @ x + fusion.project.linears[m].bias + fusion.project.column[m])
                whose.append(m)
    return found, whose


def test_attention_and_its_weights() -> None:
    fusion = build("attention", hidden=6, questions=2)
    fused = fusion(features())
    for row in range(ROWS):
        tokens, whose = tokens_of(fusion, row)
        answers, share = [], torch.zeros(3)
        for question in fusion.questions:
            keys = [(fusion.keys.weight @ t + fusion.keys.bias).tanh() for t in tokens]
            scores = torch.stack([(question * key).sum() for key in keys]).softmax(0)
            answers.append(sum((a * t for a, t in zip(scores, tokens, strict=True)), torch.zeros(6)))
            for a, m in zip(scores, whose, strict=True):
                share[m] += a / 2
        expected = (fusion.out.weight @ torch.cat(answers) + fusion.out.bias).relu()
        torch.testing.assert_close(fused.pooled[row], expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(fused.weights[row], share, atol=1e-5, rtol=1e-4)


def test_cross_attention_layer_is_softmax_of_scaled_products() -> None:
    torch.manual_seed(0)
    layer = CrossAttention(6, 2, 0.0).eval()
    ours, theirs, mask = torch.randn(1, 2, 6), torch.randn(1, 3, 6), torch.tensor([[True, True, False]])
    normed, source = layer.norm1(ours)[0], layer.norm_source(theirs)[0]
    query, (key, value) = layer.ask(normed), layer.answer(source).chunk(2, 1)
    heads = []
    for h in range(2):
        part = slice(3 * h, 3 * h + 3)
        scores = (query[:, part] @ key[:2, part].T / math.sqrt(3)).softmax(1)
        heads.append(scores @ value[:2, part])
    tokens = ours[0] + layer.out(torch.cat(heads, 1))
    gate, up = layer.up(layer.norm2(tokens)).chunk(2, 1)
    torch.testing.assert_close(layer(ours, theirs, mask)[0], tokens + layer.down(gate.relu() * up), atol=1e-5, rtol=1e-4)
    alone = layer(ours, theirs, torch.zeros(1, 3, dtype=torch.bool))[0]
    gate, up = layer.up(layer.norm2(ours[0])).chunk(2, 1)
    torch.testing.assert_close(alone, ours[0] + layer.down(gate.relu() * up), atol=1e-5, rtol=1e-4)


def silenced(fusion: Any) -> Any:
    """With every block passing its tokens through."""
    for name, parameter in fusion.named_parameters():
        if any(part in name for part in (".out.", ".down.")):
            nn.init.zeros_(parameter)
    return fusion


def test_with_silent_blocks_the_token_methods_are_their_frame() -> None:
    """What stands around the blocks: the class token, the latents, the shared tokens, the means of the columns' own tokens."""
    transformer = silenced(build("transformer", hidden=8, heads=2))
    expected = norm(transformer.first, transformer.norm).expand(ROWS, -1)
    torch.testing.assert_close(transformer(features()).pooled, expected, atol=1e-5, rtol=1e-4)
    for name, attribute in (("perceiver", "latents"), ("bottleneck", "shared")):
        fusion = silenced(build(name, hidden=8, heads=2))
        own = torch.stack([norm(token, fusion.norm) for token in getattr(fusion, attribute)]).mean(0)
        torch.testing.assert_close(fusion(features()).pooled, own.expand(ROWS, -1), atol=1e-5, rtol=1e-4)
    cross = build("cross-attention", hidden=8, heads=2)
    for block in cross.blocks:
        silenced(block)
        for layer in (block.out, block.down):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    expected = []
    for row in range(ROWS):
        tokens, whose = tokens_of(cross, row)
        means = [
            torch.stack([t for t, m in zip(tokens, whose, strict=True) if m == own]).mean(0) if own in whose else torch.zeros(8)
            for own in range(3)
        ]
        expected.append((cross.out.weight @ torch.cat(means) + cross.out.bias).relu())
    check(cross, expected)


SOFTMAX, SIGMOID, IDENTITY = Decision(3, "softmax"), Decision(3, "sigmoid"), Decision(3, "identity")


@pytest.mark.parametrize("mode", ["average", "weighted", "product"])
@pytest.mark.parametrize("decision", [SOFTMAX, SIGMOID, IDENTITY], ids=lambda decision: decision.link)
def test_late(mode: str, decision: Decision) -> None:
    fusion = build("late", decision, mode=mode, smooth=1e-9)
    fused = fusion(features())
    for row in range(ROWS):
        outputs = [own.outputs[row] for own in features().values() if own.outputs is not None]
        preference = torch.zeros(3) if fusion.preference is None else fusion.preference
        weights = preference[here(row)].softmax(0)
        own = [outputs[m] for m in here(row)]
        if decision.link == "identity":
            expected = sum((w * x for w, x in zip(weights, own, strict=True)), torch.zeros(3))
            torch.testing.assert_close(fused.logits[row], expected)
            continue
        link = (lambda x: x.softmax(0)) if decision.link == "softmax" else torch.sigmoid
        ps = [link(x) for x in own]
        if mode == "product":
            made = torch.exp(sum((w * p.log() for w, p in zip(weights, ps, strict=True)), torch.zeros(3)))
            if decision.link == "softmax":
                made = made / made.sum()
            else:
                other = torch.exp(sum((w * (1 - p).log() for w, p in zip(weights, ps, strict=True)), torch.zeros(3)))
                made = made / (made + other)
        else:
            made = sum((w * p for w, p in zip(weights, ps, strict=True)), torch.zeros(3))
        torch.testing.assert_close(link(fused.logits[row]), made, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(fused.weights[row, here(row)], weights)


def test_stacking() -> None:
    fusion = build("stacking", SOFTMAX)
    fused = fusion(features())
    for row in range(ROWS):
        expected = fusion.bias.clone()
        for m, own in enumerate(features().values()):
            assert own.outputs is not None
            if m in here(row):
                z = own.outputs[row].log_softmax(0).clamp(min=-12)
                expected = expected + fusion.scale[m] * z + z @ fusion.matrix[m]
            if not PRESENT[row, m]:
                expected = expected + fusion.missing[m]
        torch.testing.assert_close(fused.logits[row], expected, atol=1e-5, rtol=1e-4)


def test_dempsters_rule_on_paper() -> None:
    """Beliefs (.5, .2) with doubt .3 and (.1, .6) with doubt .3: conflict .5 * .6 + .2 * .1 = .32."""
    belief, doubt = combined(
        torch.tensor([[0.5, 0.2]]), torch.tensor([[0.3]]), torch.tensor([[0.1, 0.6]]), torch.tensor([[0.3]])
    )
    torch.testing.assert_close(belief, torch.tensor([[(0.05 + 0.15 + 0.03) / 0.68, (0.12 + 0.06 + 0.18) / 0.68]]))
    torch.testing.assert_close(doubt, torch.tensor([[0.09 / 0.68]]))
    assert float(belief.sum() + doubt) == pytest.approx(1.0)
    whole, no_doubt = combined(torch.zeros(1, 2), torch.ones(1, 1), torch.tensor([[0.1, 0.6]]), torch.tensor([[0.3]]))
    torch.testing.assert_close(whole, torch.tensor([[0.1, 0.6]]))  # an absent column changes nothing
    torch.testing.assert_close(no_doubt, torch.tensor([[0.3]]))


def test_evidential_loss_is_the_expected_cross_entropy_and_the_divergence_of_wrong_evidence() -> None:
    alpha, target = torch.tensor([[3.0, 2.0, 1.5]]), torch.tensor([1])
    torch.manual_seed(0)
    draws = torch.distributions.Dirichlet(alpha[0]).sample((400_000,))
    assert float(evidential_loss(alpha, target, 0.0)) == pytest.approx(float(-draws[:, 1].log().mean()), rel=0.01)
    wrong = torch.distributions.Dirichlet(torch.tensor([3.0, 1.0, 1.5]))
    divergence = torch.distributions.kl_divergence(wrong, torch.distributions.Dirichlet(torch.ones(3)))
    added = evidential_loss(alpha, target, 1.0) - evidential_loss(alpha, target, 0.0)
    torch.testing.assert_close(added, divergence / 3, atol=1e-5, rtol=1e-4)


def test_evidential_is_for_classes_only() -> None:
    for decision in (SIGMOID, IDENTITY):
        with pytest.raises(ConfigError, match="for targets that are classes"):
            build("evidential", decision)


def test_evidence_becomes_probabilities() -> None:
    fusion = build("evidential", SOFTMAX)
    fused = fusion(features())
    torch.testing.assert_close(fused.logits.exp().sum(1), torch.ones(ROWS), atol=1e-4, rtol=1e-4)
    alone = F.softplus(projected(fusion, 2)[1])  # in row 2 only the second column is there
    strength = alone.sum() + 3
    torch.testing.assert_close(fused.logits[2].exp(), (alone + 1) / strength, atol=1e-5, rtol=1e-4)


def test_compare_row_by_row() -> None:
    """Two groups, the columns `a`, `b` and `c`, `d`, and one by itself; absent columns are compared with none."""
    torch.manual_seed(3)
    part = registry.load("fusions", "compare")
    dims = {"a": 3, "b": 3, "c": 2, "d": 2, "e": 4}
    fusion = part(registry.config_of(part)(hidden=5), dims, [["a", "b"], ["c", "d"]]).eval()
    for parameter in fusion.parameters():
        nn.init.normal_(parameter, std=0.7)
    assert sum(own.numel() for own in fusion.parameters()) == part.parameter_formula(fusion_config(part), dims, fusion.groups)
    present = torch.tensor([[True] * 5, [True, False, True, True, True], [True, True, True, True, False]])
    made = {}
    for place, (name, dim) in enumerate(dims.items()):
        x = torch.randn(3, dim)
        made[name] = Features(x, x[:, None], torch.ones(3, 1, dtype=torch.bool), present[:, place])
    fusion.fit_axes(made, torch.tensor([True, False, True]))
    fusion.fit_cosines(made, torch.tensor([True, False, True]))
    assert fusion.weights[2:].tolist() == [0, 0]  # before it is trained
    fused = fusion(made)
    for row in range(3):
        total, odds = torch.zeros(5), fusion.shift.clone()
        for place, (one, other) in enumerate((("a", "b"), ("c", "d"))):
            u, w = (made[name].pooled[row] / made[name].pooled[row].norm() for name in (one, other))
            if made[one].present[row] and made[other].present[row]:
                told = torch.cat([(u - w).abs(), u * w]) * len(u) ** 0.5
                total += fusion.pairs[place](told)
                odds += fusion.weights[place] * (u @ w)
            else:
                both = [r for r in range(3) if made[one].present[r] and made[other].present[r]]
                mean = sum(F.cosine_similarity(made[one].pooled[r], made[other].pooled[r], dim=0) for r in both) / len(both)
                odds += fusion.weights[place] * mean
        if made["e"].present[row]:
            total += fusion.layers[0](norm(made["e"].pooled[row], fusion.norms[0]))
        assert torch.allclose(fused.pooled[row], norm(total, fusion.norm).clamp(min=0), atol=1e-5)
        assert torch.allclose(fused.logits[row], odds, atol=1e-5)


def test_compare_tells_pairs_apart_along_what_those_that_belong_together_share() -> None:
    """Cells of a pair are alike in the first of four numbers alone."""
    part = registry.load("fusions", "compare")
    fusion = part(registry.config_of(part)(axes=2), {"a": 4, "b": 4}, [["a", "b"]]).eval()
    luck = torch.Generator().manual_seed(0)
    right = torch.arange(400) % 2 == 0
    ones, others = (torch.randn(400, 4, generator=luck) for _ in range(2))
    others[right, 0] = ones[right, 0] + 0.1 * torch.randn(200, generator=luck)
    here = torch.ones(400, dtype=torch.bool)
    train, val = slice(0, 300), slice(300, 400)

    def rows(of: slice) -> dict[str, Features]:
        return {name: Features(x[of], x[of, None], here[of, None], here[of]) for name, x in (("a", ones), ("b", others))}

    fusion.fit_axes(rows(train), right[train])
    units = [F.normalize(x, dim=1) for x in (ones, others)]
    cells = torch.cat([own[train] for own in units])
    assert torch.allclose(fusion.centre0, cells.mean(0), atol=1e-5)
    told = [F.normalize((own - fusion.centre0) @ fusion.axes0, dim=1) for own in units]
    alike = (told[0] * told[1]).sum(1)
    assert torch.allclose(fusion.cosines(rows(val))[:, 1], alike[val], atol=1e-5)
    share = float(fusion.axes0[0, 0].abs() / fusion.axes0[:, 0].norm())
    assert share > 0.95  # the first direction is the number that they share
    fusion.fit_cosines(rows(val), right[val])
    plainly = fusion(rows(val)).logits
    fusion.fit_cosines(rows(val), right[val], torch.zeros(100))
    assert fusion.weights[1] > 0
    odds = fusion(rows(val)).logits
    assert torch.allclose(odds, fusion.cosines(rows(val)) @ fusion.weights + fusion.shift, atol=1e-5)

    def auroc(scores: Tensor) -> float:
        return float((scores[right[val]][:, None] > scores[~right[val]]).float().mean())

    assert auroc(odds) > auroc(plainly) + 0.1

    fusion.fit_axes(rows(val), torch.zeros(100, dtype=torch.bool))  # no pair belongs together: nothing tells
    assert not fusion.axes0.any()
    assert not fusion.cosines(rows(val))[:, 1].any()
    none = part(registry.config_of(part)(axes=0), {"a": 4, "b": 4}, [["a", "b"]]).eval()
    none.fit_axes(rows(val), right[val])
    assert none.cosines(rows(val)).shape == (100, 1)


def test_a_comparison_of_before_is_one_without_directions() -> None:
    part = registry.load("fusions", "compare")

    def build(axes: int = 128) -> nn.Module:
        made = part(registry.config_of(part)(axes=axes), {"a": 4, "b": 4, "c": 3, "d": 3}, [["a", "b"], ["c", "d"]])
        return nn.ModuleDict({"fusion": made.eval()})

    before = build(axes=0)
    fusion: Any = before["fusion"]  # type: ignore[index]
    fusion.weights.copy_(torch.tensor([2.0, 3.0]))
    now = build()
    now.load_state_dict(loading.fits(build, before.state_dict()))
    here = torch.ones(5, dtype=torch.bool)
    made = {}
    for name, dim in (("a", 4), ("b", 4), ("c", 3), ("d", 3)):
        x = torch.randn(5, dim)
        made[name] = Features(x, x[:, None], here[:, None], here)
    again: Any = now["fusion"]  # type: ignore[index]
    assert torch.equal(again(made).logits, fusion(made).logits)
    with pytest.raises(ValueError, match="in the weights or in the network"):
        loading.fits(lambda: build(axes=0), now.state_dict())


def test_a_row_in_which_nothing_can_be_compared_is_as_val_is_on_average() -> None:
    torch.manual_seed(5)
    part = registry.load("fusions", "compare")
    fusion = part(registry.config_of(part)(hidden=5), {"a": 3, "b": 3}, [["a", "b"]])
    for parameter in fusion.parameters():
        nn.init.normal_(parameter, std=3.0)
    here, one = torch.tensor([True, True, True, True]), torch.tensor([True, True, True, False])
    made = {}
    for name, present in (("a", here), ("b", one)):
        x = torch.randn(4, 3)
        made[name] = Features(x, x[:, None], torch.ones(4, 1, dtype=torch.bool), present)
    fusion.fit_cosines(made, torch.tensor([True, False, True, False]))
    assert fusion.training  # as it was
    fused = fusion.eval()(made)
    assert torch.allclose(fused.pooled[3], fused.pooled[:3].mean(0), atol=1e-5)
    assert torch.allclose(fused.logits[3], fused.logits[:3].mean(), atol=1e-5)


def test_compare_remembers_each_token_beside_the_other_column() -> None:
    torch.manual_seed(4)
    part = registry.load("fusions", "compare")
    fusion = part(registry.config_of(part)(hidden=5), {"a": 3, "b": 3}, [["a", "b"]]).eval()
    here, mask = torch.ones(2, dtype=torch.bool), torch.tensor([[True, True], [True, False]])
    made = {name: Features(torch.randn(2, 3), torch.randn(2, 2, 3), mask, here) for name in "ab"}
    fused = fusion.remembered(made)
    assert fused.tokens is not None and fused.mask is not None and fused.mask.tolist() == [[True] * 4, [True, False] * 2]
    token = made["b"].tokens[0, 1][None]
    alone = {"a": made["a"].gather(torch.tensor([0])), "b": Features(token, token[:, None], mask[:1, :1], here[:1])}
    assert torch.allclose(fused.tokens[0, 3], fusion(alone).pooled[0], atol=1e-6)
    assert torch.equal(fused.pooled, fusion(made).pooled)


def fusion_config(part: Any) -> Any:
    return registry.config_of(part)(hidden=5)


def test_no_cosine_counts_against_what_it_measures() -> None:
    """A group whose likeness speaks for the wrong rows weighs nothing, and the other decides."""
    part = registry.load("fusions", "compare")
    fusion = part(registry.config_of(part)(), {"a": 2, "b": 2, "c": 2, "d": 2}, [["a", "b"], ["c", "d"]]).eval()
    right = torch.arange(40) % 2 == 0
    x = F.normalize(torch.randn(40, 2, generator=torch.Generator().manual_seed(0)), dim=1)
    turned = torch.stack([-x[:, 1], x[:, 0]], 1)
    here = torch.ones(40, dtype=torch.bool)

    def own(values: Tensor) -> Features:
        return Features(values, values[:, None], here[:, None], here)

    made = {"a": own(x), "b": own(torch.where(right[:, None], turned, x))}
    made |= {"c": own(x), "d": own(torch.where(right[:, None], x, turned))}
    fusion.fit_cosines(made, right)
    assert float(fusion.weights[0]) == 0 and float(fusion.weights[1]) > 1
    assert bool(((fusion(made).logits > 0) == right).all())
