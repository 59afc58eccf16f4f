"""What every fusion must do, whatever it is: join one column or more, absent rows and ragged tokens among them."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any, get_args

import torch

from mmcli import registry
from mmcli.checks import Check
from mmcli.encoders import parameter_count
from mmcli.fusions import Family, Fusion, Memory, usable
from mmcli.signals import Decision, Features, Fused

WIDTHS = (8, 5, 12, 3)
ROWS = 6
DECISION = Decision(5, "softmax")


def dims(columns: int) -> dict[str, int]:
    """Names and widths of some columns."""
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


def changed(own: Features, row: int | None = None) -> Features:
    """With everything that a method could look at changed, in one row or in all."""
    generator = torch.Generator().manual_seed(7)
    assert own.outputs is not None
    copies = [values.clone() for values in (own.pooled, own.tokens, own.outputs)]
    for values in copies:
        noise = torch.randn(values.shape, generator=generator)
        values[slice(None) if row is None else row] = noise[slice(None) if row is None else row]
    return Features(copies[0], copies[1], own.mask, own.present, copies[2])


class Subject:
    """A method under check: builds fresh copies of it, always the same."""

    label = ""

    def __init__(self, name: str, **options: Any) -> None:
        self.kind: type[Fusion] = registry.load("fusions", name)
        self.config = registry.config_of(self.kind)(**options)
        self.about = registry.resolve("fusions", name).literals.get("ABOUT")
        kind = self.kind
        self.more = [DECISION] if kind.family == "decision" else []

    def build(self, columns: int, seed: int = 0) -> Fusion:
        torch.manual_seed(seed)
        kind: Any = self.kind
        fusion: Fusion = kind(self.config, dims(columns), *self.more)
        return fusion.eval()


def what_a_user_is_told_of_it(subject: Subject) -> None:
    """`ABOUT` says the family, how absent inputs enter, whether order counts, the cost and the use."""
    about = subject.about
    assert isinstance(about, dict), "the file has no ABOUT, a dict of plain values"
    wanted = {"family", "absent", "ordered", "cost", "use"}
    told = set(about) - {"memory"}
    assert told == wanted, f"ABOUT has {', '.join(sorted(told))}; expected {', '.join(sorted(wanted))}, and may have memory"
    memory = about.get("memory", "pooled")
    assert memory in get_args(Memory), f"ABOUT: the memory is {memory!r}, not one of {get_args(Memory)}"
    assert about["family"] in get_args(Family), f"ABOUT: the family is {about['family']!r}, not one of {get_args(Family)}"
    assert about["absent"] in {"masked", "embedding"}, f"ABOUT: absent is {about['absent']!r}, not masked or embedding"
    assert isinstance(about["ordered"], bool), f"ABOUT: ordered is {about['ordered']!r}, not True or False"
    assert about["use"], "ABOUT does not say the use"


def any_number_of_inputs(subject: Subject) -> None:
    """It takes one to four columns, with ragged tokens and absent rows, and gives finite features of width `dim`."""
    for columns in (1, 2, 3, 4):
        fusion = subject.build(columns)
        fused = fusion(features(columns))
        assert isinstance(fused, Fused), f"forward gives a {type(fused).__name__}, not Fused"
        assert fused.pooled.shape == (ROWS, fusion.dim), f"pooled is {list(fused.pooled.shape)}, not [{ROWS}, {fusion.dim}]"
        assert bool(fused.pooled.isfinite().all()), f"pooled is not finite with {columns} columns"
        if fused.weights is not None:
            assert fused.weights.shape == (ROWS, columns), f"weights are {list(fused.weights.shape)}, not [{ROWS}, {columns}]"
            total = fused.weights.sum(1)
            assert bool(((total - 1).abs() < 1e-4).all()), f"weights add up to {total.tolist()}, not to 1"


def absent_inputs_count_for_nothing(subject: Subject) -> None:
    """Where ABOUT says `masked`, what an absent column holds changes nothing, and its weight is zero."""
    if subject.kind.absent_inputs != "masked":
        return
    fusion, one = subject.build(3), features(3)
    last = list(one)[-1]
    other = {**one, last: changed(one[last], row=1)}
    same = torch.equal(fusion(one).pooled[1], fusion(other).pooled[1])
    assert same, "row 1 lacks the last column, yet its features change with what that column holds"
    weights = fusion(one).weights
    assert weights is None or float(weights[1, -1].detach()) == 0, "an absent column has a weight"


def every_present_column_counts(subject: Subject) -> None:
    """A change in any column that is there changes the result."""
    fusion, one = subject.build(3), features(3)
    for column in one:
        other = {**one, column: changed(one[column])}
        assert not torch.allclose(fusion(one).pooled[0], fusion(other).pooled[0]), f"{column!r} has no influence"


def rows_do_not_see_each_other(subject: Subject) -> None:
    """A row alone gives what it gives in a batch."""
    fusion, whole = subject.build(3), features(3)
    together = fusion(whole).pooled
    for row in range(ROWS):
        alone = fusion({column: own.gather(torch.tensor([row])) for column, own in whole.items()}).pooled[0]
        assert torch.allclose(alone, together[row], atol=1e-5, rtol=1e-4), f"row {row} differs when it is alone"


def the_order_of_the_dict_is_nothing(subject: Subject) -> None:
    """Columns are found by name."""
    fusion, whole = subject.build(3), features(3)
    backwards = dict(reversed(whole.items()))
    assert torch.equal(fusion(whole).pooled, fusion(backwards).pooled), "it goes by the order of the dict, not by names"


def only_token_methods_look_at_tokens(subject: Subject) -> None:
    """A method that is not of the family `token` gives the same whatever the tokens are: it is not given them."""
    if subject.kind.family == "token":
        return
    fusion, one = subject.build(3), features(3)
    other = {column: own.without_tokens() for column, own in one.items()}
    same = torch.equal(fusion(one).pooled, fusion(other).pooled)
    assert same, f"ABOUT says family {subject.kind.family}, and the features change with the tokens: say token"


def as_heads_find_them(own: Features) -> Features:
    """The features with one token in rows whose cell is absent, as a model gives them."""
    first = torch.arange(own.mask.shape[1])[None] == 0
    return replace(own, mask=torch.where(own.present[:, None], own.mask, first))


def remembered(fusion: Fusion, given: dict[str, Features]) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens [B, T, H] and their mask [B, T] that it gives heads."""
    fused = fusion.remembered(given)
    assert fused.tokens is not None and fused.mask is not None, f"ABOUT says memory {fusion.memory}, and there are no tokens"
    return fused.tokens, fused.mask


def the_memory_is_what_is_told_of_it(subject: Subject) -> None:
    """Tokens [B, T, dim] with a mask, as many as `memory` says, finite; the pooled features are those without them."""
    memory = subject.kind.memory
    for columns in (1, 2, 3, 4):
        fusion = subject.build(columns)
        given = {name: as_heads_find_them(own) for name, own in features(columns).items()}
        fused = fusion.remembered(given)
        if fused.logits is None:
            assert torch.equal(fused.pooled, fusion(given).pooled), "the pooled features change where tokens are asked for"
        if memory == "pooled":
            assert fused.tokens is None, "there are tokens, and ABOUT does not say of which kind (memory)"
            continue
        tokens, mask = remembered(fusion, given)
        assert tokens.shape == (*mask.shape, fusion.dim) and mask.dtype == torch.bool, (
            f"tokens are {list(tokens.shape)}, their mask {mask.dtype} {list(mask.shape)}; expected a width of {fusion.dim}"
        )
        assert bool(tokens[mask].isfinite().all()), f"tokens are not finite with {columns} columns"
        counts = torch.stack([own.mask.sum(1) for own in given.values()], 1)
        here = usable(torch.stack([own.present for own in given.values()], 1))
        lead = counts.gather(1, here.long().argmax(1, keepdim=True))[:, 0]
        heard = here if subject.kind.absent_inputs == "masked" else torch.ones_like(here)
        wanted = {"columns": (counts * heard).sum(1), "lead": lead, "latents": mask.sum(1)[:1].expand(ROWS)}[memory]
        found = mask.sum(1).tolist()
        assert found == wanted.tolist(), f"rows have {found} tokens, by memory {memory} they would have {wanted.tolist()}"


def absent_inputs_say_nothing_in_the_memory(subject: Subject) -> None:
    """Where ABOUT says `masked`, tokens do not change with what an absent column holds."""
    if subject.kind.absent_inputs != "masked" or subject.kind.memory == "pooled":
        return
    fusion, one = subject.build(3), features(3)
    last = list(one)[-1]
    (tokens, mask), (others, _) = (remembered(fusion, own) for own in (one, {**one, last: changed(one[last], row=1)}))
    same = torch.equal(tokens[1][mask[1]], others[1][mask[1]])
    assert same, "row 1 lacks the last column, yet its tokens change with what that column holds"


def tokens_of_the_lead_keep_their_order(subject: Subject) -> None:
    """Where ABOUT says memory `lead`, token t goes with token t of the first column: it changes most with that."""
    if subject.kind.memory != "lead":
        return
    for columns in (1, 3):
        fusion, one = subject.build(columns), features(columns)
        first = next(iter(one))
        before, mask = remembered(fusion, one)
        for place in range(int(mask[0].sum())):
            tokens = one[first].tokens.clone()
            tokens[0, place] = -tokens[0, place]
            after, _ = remembered(fusion, {**one, first: replace(one[first], tokens=tokens)})
            most = int((after - before)[0].abs().sum(1).argmax())
            assert most == place, f"token {most} follows token {place} of the first column"


def padding_says_nothing(subject: Subject) -> None:
    """A row's result does not depend on how many tokens other rows of the batch have."""
    fusion, one = subject.build(3), features(3)
    longer = {
        name: replace(
            own,
            tokens=torch.cat([own.tokens, torch.full((ROWS, 3, own.tokens.shape[2]), 9.0)], 1),
            mask=torch.cat([own.mask, torch.zeros(ROWS, 3, dtype=torch.bool)], 1),
        )
        for name, own in one.items()
    }
    short, long = fusion.remembered(one), fusion.remembered(longer)
    assert torch.allclose(short.pooled, long.pooled, atol=1e-5, rtol=1e-4), "the features change with padding"
    if subject.kind.memory != "pooled":
        (tokens, mask), (others, other_mask) = remembered(fusion, one), remembered(fusion, longer)
        assert torch.equal(mask.sum(1), other_mask.sum(1)), "the number of tokens changes with padding"
        assert torch.allclose(tokens[mask], others[other_mask], atol=1e-5, rtol=1e-4), "the tokens change with padding"


def gradients_reach_every_parameter(subject: Subject) -> None:
    """Training can move all of it, and no gradient is infinite."""
    fusion = subject.build(3).train()
    if not parameter_count(fusion):
        return
    fused = fusion(features(3))
    (fused.pooled * torch.randn(fused.pooled.shape)).sum().backward()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None, f"no gradient reaches {name}"
        assert bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite"
        assert float(parameter.grad.abs().sum()) > 0, f"the gradient of {name} is zero"


def saved_and_loaded_it_is_the_same(subject: Subject) -> None:
    """Its state dict holds all that it knows."""
    fusion, other, whole = subject.build(3), subject.build(3, seed=5), features(3)
    other.load_state_dict(fusion.state_dict())
    assert torch.equal(fusion(whole).pooled, other(whole).pooled), "a copy with the same state dict gives something else"


def bfloat16(subject: Subject) -> None:
    """It works under autocast, with its penalty, forwards and backwards."""
    fusion = subject.build(2).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fused = fusion(features(2))
        penalty = fusion.penalty(fused, torch.arange(ROWS) % DECISION.width)
    if parameter_count(fusion):
        (fused.pooled.float().sum() + (0.0 if penalty is None else penalty)).backward()
    finite = all(bool(p.grad.isfinite().all()) for p in fusion.parameters() if p.grad is not None)
    assert finite and bool(fused.pooled.float().isfinite().all()), "something is not finite in bfloat16"


def parameters_are_as_the_formula_says(subject: Subject) -> None:
    """`parameter_formula` counts right, for one to four columns."""
    for columns in (1, 2, 3, 4):
        counted = parameter_count(subject.build(columns))
        more = subject.more if len(inspect.signature(subject.kind.parameter_formula).parameters) > 2 else []
        said = subject.kind.parameter_formula(subject.config, dims(columns), *more)
        assert counted == said, f"with {columns} columns it has {counted:,} parameters, the formula says {said:,}"


CHECKS: tuple[Check, ...] = (
    what_a_user_is_told_of_it,
    any_number_of_inputs,
    absent_inputs_count_for_nothing,
    every_present_column_counts,
    rows_do_not_see_each_other,
    the_order_of_the_dict_is_nothing,
    only_token_methods_look_at_tokens,
    the_memory_is_what_is_told_of_it,
    absent_inputs_say_nothing_in_the_memory,
    tokens_of_the_lead_keep_their_order,
    padding_says_nothing,
    gradients_reach_every_parameter,
    saved_and_loaded_it_is_the_same,
    bfloat16,
    parameters_are_as_the_formula_says,
)


def subjects(name: str, **options: Any) -> list[Subject]:
    """The method with default options, or with these."""
    return [Subject(name, **options)]
