"""TabM: what a member is, by hand; that members differ, are trained apart, and are averaged."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.encoders.tabm import Config, TabM, _dropped, _Fields
from mmcli.signals import Column, Field, Signal, SignalSpec

NAN = float("nan")
SPEC = SignalSpec(
    kind="fields", shape=(4,), fields=(Field("age"), Field("colour", categories=3), Field("size"), Field("kind", categories=2))
)
VALUES = torch.tensor([[0.0, 2, 0.5, 1], [NAN, 0, 2.0, NAN], [6.0, NAN, NAN, 0], [1.5, 1, 1.0, 1], [2.0, 2, 0.0, 0]])
COLUMN = Column(VALUES, torch.ones(5, dtype=torch.bool))
VECTOR = SignalSpec(kind="vector", shape=(20,))


def made(spec: SignalSpec = SPEC, randomly: bool = True, **options: float) -> TabM:
    torch.manual_seed(3)
    still = {"dropout": 0.0, "field_dropout": 0.0}
    encoder = TabM(Config(**{"members": 3, "hidden": 6, "bins": 2, **still, **options}), spec)  # type: ignore[arg-type]
    if spec is SPEC:
        encoder.fit(COLUMN)
    if randomly:
        for parameter in encoder.parameters():
            nn.init.normal_(parameter)
    return encoder


def signal(spec: SignalSpec = SPEC) -> Signal:
    torch.manual_seed(5)
    return (
        COLUMN.gather(torch.arange(5)) if spec is SPEC else Column(torch.randn(5, 20), COLUMN.present).gather(torch.arange(5))
    )


def alone(encoder: TabM, spec: SignalSpec, member: int) -> TabM:
    """A TabM of that member alone."""
    own = made(spec, members=1, layers=len(encoder.layers))
    shared = ("weight", "table", "missing", "absent")
    state = encoder.state_dict()
    for name, value in state.items():
        of_members = name.rpartition(".")[2] not in shared and not name.startswith("first.numbers")
        state[name] = value[member : member + 1] if of_members else value
    own.load_state_dict(state)
    return own.eval()


def test_the_first_layer_is_that_of_the_paper_over_all_that_fields_say() -> None:
    layer = made().first
    assert isinstance(layer, _Fields)
    encoded = layer.numbers(VALUES[:, [0, 2]]).flatten(1)
    absent = VALUES.isnan()
    indicators = [F.one_hot(VALUES[:, at].nan_to_num().long(), n) * ~absent[:, at, None] for at, n in ((1, 3), (3, 2))]
    x = torch.cat([encoded, *indicators, absent.float()], 1)
    matrix = torch.cat([layer.weight, layer.table, layer.missing])
    before = torch.cat([layer.before_numbers, layer.before_categories, layer.before_missing], 1)
    assert x.shape == (5, 6 + 5 + 4)
    found = layer(VALUES)
    assert found.shape == (5, 3, 6)
    for member in range(3):
        wanted = ((x * before[member]) @ matrix) * layer.after[member] + layer.bias[member]
        torch.testing.assert_close(found[:, member], wanted)


@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize("spec", [SPEC, VECTOR], ids=["fields", "vector"])
def test_each_member_is_a_network_of_its_own_that_shares_matrices_alone(spec: SignalSpec, layers: int) -> None:
    encoder = made(spec, layers=layers).train()
    encoder.apart = True
    each: Tensor = encoder(signal(spec)).pooled
    assert each.shape == (15, 6)
    for member, found in enumerate(each.chunk(3)):
        torch.testing.assert_close(found, alone(encoder, spec, member)(signal(spec)).pooled)


def test_the_mean_of_the_members_gives_the_mean_of_their_outputs() -> None:
    encoder, head = made(), nn.Linear(6, 2)
    encoder.apart = True
    each = head(encoder.train()(signal()).pooled).unflatten(0, (3, 5))
    assert each.std(0).min() > 1e-3
    torch.testing.assert_close(head(encoder.eval()(signal()).pooled), each.mean(0))
    encoder.apart = False
    assert encoder.train()(signal()).pooled.shape == (5, 6)


@pytest.mark.parametrize("spec", [SPEC, VECTOR], ids=["fields", "vector"])
def test_members_begin_with_random_signs_and_differ_by_them_alone(spec: SignalSpec) -> None:
    encoder = made(spec, randomly=False, members=16, hidden=64)
    signs, ones = [], []
    for name, parameter in encoder.named_parameters():
        last = name.rpartition(".")[2]
        if name.startswith("first.before"):
            signs.append(parameter)
        elif last in {"before", "after", "last"}:
            ones.append(parameter)
        elif last == "bias":
            assert torch.equal(parameter, parameter[:1].expand_as(parameter)), name
    assert all(bool((own == 1).all()) for own in ones) and len(ones) == 6
    together = torch.cat(signs, 1)
    assert together.abs().unique().tolist() == [1.0] and 0.3 < (together > 0).float().mean() < 0.7
    assert len(together.unique(dim=0)) == 16
    encoder.apart = True
    each = encoder.train()(signal(spec)).pooled.unflatten(0, (16, 5))
    assert len(each.flatten(1).unique(dim=0)) == 16


def test_gradients_of_one_member_leave_the_vectors_of_the_others_alone() -> None:
    encoder = made().train()
    encoder.apart = True
    encoder(signal()).pooled.chunk(3)[1].square().sum().backward()
    first = encoder.first
    assert isinstance(first, _Fields)
    for own in (first.before_numbers, first.before_categories, first.before_missing, first.after, first.bias, encoder.last):
        assert own.grad is not None
        assert own.grad[[0, 2]].abs().sum() == 0 and own.grad[1].abs().sum() > 0
    assert first.weight.grad is not None and first.weight.grad.abs().sum() > 0


def test_each_member_takes_other_fields_for_missing() -> None:
    encoder = made(field_dropout=0.5)
    first = encoder.first
    assert isinstance(first, _Fields)
    with torch.no_grad():
        for own in (first.before_missing, first.after):
            own.fill_(1.0)
        for own in (first.weight, first.table, first.bias):
            own.zero_()
        first.missing.copy_(F.one_hot(torch.arange(4), 6))  # what comes out says which fields are missing
    rows = torch.tensor([[1.0, 0, 2.0, 1]]).expand(2000, -1)
    assert first.eval()(rows).abs().sum() == 0
    said = first.train()(rows)[..., :4]
    assert said.unique().tolist() == [0.0, 1.0]
    torch.testing.assert_close(said.mean((0, 1)), torch.full((4,), 0.5), atol=0.03, rtol=0)
    assert (said[:, 0] != said[:, 1]).float().mean() > 0.4


def test_what_a_member_takes_for_missing_says_nothing_else() -> None:
    encoder = made(field_dropout=1 - 1e-9)
    torch.testing.assert_close(encoder.train().first(VALUES), encoder.eval().first(torch.full_like(VALUES, NAN)))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.9])
def test_dropout_drops_that_share_each_number_by_itself(share: float) -> None:
    torch.manual_seed(0)
    values = torch.full((301, 7, 101), 3.0)  # no multiple of four
    found = _dropped(values, share)
    assert found.shape == values.shape
    assert found.unique().tolist() == [0.0, pytest.approx(3 / (1 - share))]
    gone = (found == 0).float()
    assert float(gone.mean()) == pytest.approx(share, abs=0.005)
    for lag in range(1, 9):  # neighbours are drawn together, and independent all the same
        line = gone.flatten()
        assert float((line[lag:] * line[:-lag]).mean()) == pytest.approx(share**2, abs=0.005)


def test_no_dropout_changes_nothing() -> None:
    values = torch.randn(3, 2)
    assert _dropped(values, 0.0) is values


def test_dropout_is_for_training_and_for_every_layer() -> None:
    encoder = made(dropout=0.5)
    torch.testing.assert_close(encoder.eval()(signal()).pooled, made()(signal()).pooled)
    for layers, zeros in ((0, 0.5), (1, 0.5)):
        own = made(dropout=0.5, layers=layers, hidden=400, randomly=False).train()
        with torch.no_grad():
            for parameter in own.parameters():
                parameter.abs_().add_(0.1)  # nothing that ReLU cuts off
        own.apart = True
        pooled = own(Column(VALUES.abs().nan_to_num() + 0.1, COLUMN.present).gather(torch.arange(5))).pooled
        assert float((pooled == 0).float().mean()) == pytest.approx(zeros, abs=0.05)
