"""A transformer that writes: what it writes against what it says of it when forced, alone and in a batch, kept and loaded."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mmcli.signals import Column
from mmcli.text import outputs
from mmcli.text.outputs import Texts
from mmcli.text.spelled import dense, spelled
from mmcli.text.writer import EDGE, Begun, Sizes, Together, Writer
from mmcli.text.writing import GLIMPSED, Member, Notes, Writing, Writings, forced

SIZES = Sizes(units=6, memory=5, dim=8, layers=2, heads=2)
KIND = Writings()


def writer(seed: int = 0, frames: int = 0) -> Writer:
    """With weights as loud as those of a trained one."""
    torch.manual_seed(seed)
    made = Writer(replace(SIZES, frames=frames)).eval()
    with torch.no_grad():
        made.embed.weight.mul_(2.0)
        made.bias[EDGE] = 1.0
    return made


def memory(lengths: tuple[int, ...] = (3, 1, 5, 2), seed: int = 0) -> Column:
    generator = torch.Generator().manual_seed(seed)
    ends = torch.tensor([0, *lengths]).cumsum(0)
    return Column(torch.randn(int(ends[-1]), 5, generator=generator), torch.ones(len(lengths), dtype=torch.bool), ends)


def writing(*networks: Writer, lengths: tuple[int, ...] = (3, 1, 5, 2), **how: object) -> Writing:
    share = torch.tensor(1 / max(len(networks), 1))
    members = tuple(Member(own, memory(lengths), share) for own in networks or (writer(),))
    count = len(lengths)
    return Writing(members, torch.arange(count), torch.full((count,), 20), **how)  # type: ignore[arg-type]


def ids(own: Writing) -> list[list[int]]:
    return [nbest[0].ids for nbest in own.nbests()]


def as_targets(texts: list[list[int]]) -> Tensor:
    longest = max(map(len, texts))
    return torch.tensor([[*text, *[-1] * (longest - len(text))] for text in texts], dtype=torch.int64)


def test_parameters_are_those_of_the_formula() -> None:
    for frames in (0, 1):
        made = writer(frames=frames)
        assert sum(p.numel() for p in made.parameters()) == made.sizes.parameters
    assert Sizes.of(SIZES.tensor()) == SIZES


def test_cached_keys_give_what_all_units_at_once_give() -> None:
    own, given = writer(), memory((3, 4)).gather(torch.arange(2))
    units = torch.tensor([[EDGE, 1, 2, 5, 1], [EDGE, 4, 4, 3, 2]])
    with torch.no_grad():
        at_once = own(given.values, given.mask(), units).log_softmax(-1)
        begun, state = own.begin(given.values, given.mask()), None
        for place in range(5):
            step, state = begun.step(units[:, place], torch.arange(2), state)
            torch.testing.assert_close(step, at_once[:, place])


def test_hypotheses_of_a_row_share_its_memory_and_are_put_in_order() -> None:
    own, given = writer(), memory((3, 4)).gather(torch.arange(2))
    with torch.no_grad():
        begun = own.begin(given.values, given.mask())
        _, state = begun.step(torch.tensor([EDGE, EDGE]), torch.arange(2), None)
        state = begun.reorder(state, torch.tensor([0, 0, 1, 1]))
        found, state = begun.step(torch.tensor([1, 2, 3, 4]), torch.arange(2), state)
        for place, (row, unit) in enumerate([(0, 1), (0, 2), (1, 3), (1, 4)]):
            index = torch.tensor([row])
            alone = own(given.values[index], given.mask()[index], torch.tensor([[EDGE, unit]])).log_softmax(-1)
            torch.testing.assert_close(found[place], alone[0, 1])
        state = begun.reorder(state, torch.tensor([3]))
        found, _ = begun.step(torch.tensor([5]), torch.tensor([1]), state)
        alone = own(given.values[1:], given.mask()[1:], torch.tensor([[EDGE, 4, 5]])).log_softmax(-1)
        torch.testing.assert_close(found, alone[:, 2])


def test_a_unit_sees_none_that_comes_after_it_and_no_padding() -> None:
    own, given = writer(), memory((2, 5)).gather(torch.arange(2))
    one, two = torch.tensor([[EDGE, 1, 2], [EDGE, 3, 3]]), torch.tensor([[EDGE, 1, 5], [EDGE, 3, 1]])
    with torch.no_grad():
        first, second = own(given.values, given.mask(), one), own(given.values, given.mask(), two)
        torch.testing.assert_close(first[:, :2], second[:, :2])
        assert not torch.allclose(first[:, 2], second[:, 2])
        loud = torch.where(given.mask()[..., None], given.values, torch.tensor(99.0))
        torch.testing.assert_close(own(loud, given.mask(), one), first)


@pytest.mark.parametrize("width", [1, 3])
def test_a_row_alone_is_written_as_among_others(width: int) -> None:
    lengths = (3, 1, 5, 2, 5, 4)
    together = writing(lengths=lengths, width=width).nbests()
    for row in range(len(lengths)):
        alone = KIND.gather(writing(lengths=lengths, width=width), torch.tensor([row])).nbests()[0]
        assert [found.ids for found in alone] == [found.ids for found in together[row]]
        assert [found.log_prob for found in alone] == pytest.approx([found.log_prob for found in together[row]], abs=1e-5)


def test_what_was_written_has_the_score_that_it_has_when_forced() -> None:
    own = replace(writing(width=3), limits=torch.tensor([20, 2, 20, 20]))
    ends = 0
    for row, nbest in enumerate(own.nbests()):
        for found in nbest:
            alone = KIND.gather(own, torch.tensor([row]))
            if len(found.ids) < int(own.limits[row]):
                wanted = torch.tensor([found.ids or [-1]])
                assert -float(alone.losses(wanted)) == pytest.approx(found.log_prob, abs=1e-4)
                ends += 1
    assert ends > 3  # enough of them ended by themselves


def test_the_loss_by_hand_with_smoothing() -> None:
    own, targets = writing(lengths=(3, 2)), torch.tensor([[1, 2, -1], [4, 4, 4]])
    given = own.members[0].memory.gather(torch.arange(2))
    read, wanted = torch.tensor([[0, 1, 2, 0], [0, 4, 4, 4]]), torch.tensor([[1, 2, 0, 0], [4, 4, 4, 0]])
    with torch.no_grad():
        log_probs = own.members[0].writer(given.values, given.mask(), read).log_softmax(-1)
        sharp = forced(own, targets)
        smooth = forced(own, targets, 0.1)
    for row, count in ((0, 3), (1, 4)):
        right = [float(log_probs[row, place, wanted[row, place]]) for place in range(count)]
        spread = [float(log_probs[row, place].mean()) for place in range(count)]
        assert float(sharp[row]) == pytest.approx(-sum(right), abs=1e-5)
        assert float(smooth[row]) == pytest.approx(-0.9 * sum(right) - 0.1 * sum(spread), abs=1e-5)
    assert own.losses(targets).tolist() == pytest.approx(sharp.tolist(), abs=1e-5)


def test_averaged_writers_mean_their_probabilities_in_loss_and_search() -> None:
    one, two = writer(1), writer(2)
    shares = torch.tensor([0.25, 0.75])
    both = KIND.mean([writing(one, width=3), writing(two, width=3)], shares)
    targets = as_targets(ids(both))
    given = memory().gather(torch.arange(4))
    with torch.no_grad():
        begun = [own.begin(given.values, given.mask()) for own in (one, two)]
        found, _ = Together(begun, [share.log() for share in shares]).step(
            torch.zeros(4, dtype=torch.int64), torch.arange(4), None
        )
        each = [own.step(torch.zeros(4, dtype=torch.int64), torch.arange(4), None)[0] for own in begun]
    torch.testing.assert_close(found.exp(), 0.25 * each[0].exp() + 0.75 * each[1].exp())
    scores = [nbest[0].log_prob for nbest in both.nbests()]
    ended = [row for row, text in enumerate(ids(both)) if len(text) < 20]
    losses = both.losses(targets)
    assert ended
    assert [-float(losses[row]) for row in ended] == pytest.approx([scores[row] for row in ended], abs=1e-4)
    same = KIND.mean([writing(one, width=3), writing(one, width=3)], torch.tensor([0.5, 0.5]))
    assert ids(same) == ids(writing(one, width=3))


@pytest.mark.parametrize("searched", [False, True])
def test_saved_and_loaded_it_says_the_same_and_searches_no_more(searched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    own = KIND.mean([writing(writer(1), width=2), writing(writer(2), width=2)], torch.tensor([0.5, 0.5]))
    own = replace(own, exponent=0.3)
    texts = own.nbests() if searched else None
    saved = KIND.save(own, "x")
    assert all(isinstance(value, Tensor) for value in saved.values())
    again = Texts().load({**saved, "other": torch.zeros(1)}, "x")
    assert (again.width, again.exponent, len(again.members)) == (2, 0.3, 2)
    targets = torch.tensor([[1, 2], [3, -1], [5, 5], [2, 2]])
    assert again.losses(targets).tolist() == pytest.approx(own.losses(targets).tolist(), abs=0.05)
    if searched:
        monkeypatch.setattr(Writer, "begin", None)
        assert again.nbests() == texts
    else:
        assert [nbest[0].log_prob for nbest in again.nbests()] == pytest.approx(
            [nbest[0].log_prob for nbest in own.nbests()], abs=0.05
        )


def test_what_is_kept_does_not_change_when_training_goes_on() -> None:
    live = writer()
    kept = KIND.plain(writing(live))
    before = ids(kept)
    targets = as_targets([[1, 2]] * 4)
    loss = forced(kept, targets)
    with torch.no_grad():
        for parameter in live.parameters():
            parameter.data = torch.randn_like(parameter)
    torch.testing.assert_close(forced(kept, targets), loss)
    assert ids(replace(kept, notes=Notes())) == before
    assert not loss.requires_grad


def test_batches_of_the_same_weights_share_a_copy() -> None:
    live = writer()
    one, two = KIND.plain(writing(live)), KIND.plain(writing(live))
    assert one.members[0].writer is two.members[0].writer is not live
    with torch.no_grad():
        live.bias.data = live.bias + 1  # as weights are exchanged for averaged ones
    three = KIND.plain(writing(live))
    assert three.members[0].writer is not one.members[0].writer
    torch.testing.assert_close(three.members[0].writer.bias, one.members[0].writer.bias + 1)


def test_parts_and_joins_remember_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    own = writing(width=2)
    texts = ids(own)
    parts = [KIND.gather(own, torch.tensor([2, 0])), KIND.gather(own, torch.tensor([1]))]
    joined = KIND.join(parts)
    monkeypatch.setattr(Writer, "begin", None)  # any search would fail
    assert KIND.rows(joined) == 3
    assert ids(joined) == [texts[2], texts[0], texts[1]]
    assert ids(KIND.gather(joined, torch.tensor([2, 2]))) == [texts[1], texts[1]]


def test_parts_of_different_networks_are_not_joined() -> None:
    with pytest.raises(AssertionError, match="different networks"):
        KIND.join([writing(writer(1)), writing(writer(2))])


def test_a_glimpse_is_greedy_and_of_some_rows() -> None:
    own = writing(width=3)
    assert ids(KIND.glimpse(own)) == ids(replace(own, width=1, notes=Notes()))
    many = writing(lengths=(1,) * (2 * GLIMPSED + 6), width=3)
    found = KIND.glimpse(many).nbests()
    assert [bool(nbest) for nbest in found[:6]] == [True, False, False] * 2
    assert sum(map(bool, found)) <= GLIMPSED
    late = KIND.gather(KIND.glimpse(many), torch.tensor([4, 3])).nbests()
    assert [bool(nbest) for nbest in late] == [False, True]


def test_texts_at_their_limit_and_in_circles_are_told() -> None:
    own = replace(writing(), limits=torch.tensor([9, 3, 9, 9]))
    from mmcli.text import Hypothesis

    texts = [[1, 2] * 4, [1, 2, 3], [1], [4]]
    for row, text in enumerate(texts):
        own.notes.texts[row] = [Hypothesis(text, -1.0, -1.0)]
    assert outputs.doubtful(own, texts, [[1], [2], [1], [4]]) == ([0], [1])
    assert outputs.doubtful(own, texts, [[1, 2] * 4, [2], [1], [4]]) == ([], [1])  # the right one goes round in a loop too
    assert outputs.doubtful(KIND.gather(own, torch.tensor([2, 3])), texts[2:], [[1], [4]]) == ([], [])


def test_confidence_is_the_probability_a_unit_until_it_is_settled_and_then_the_expected_share_that_is_right() -> None:
    own = replace(writing(), notes=Notes())
    from mmcli.text import Hypothesis

    log_probs = (-0.3, -4.0, -2.0, -6.0)
    for row, log_prob in enumerate(log_probs):
        own.notes.texts[row] = [Hypothesis([1, 2], log_prob, log_prob)]
    texts = [[1, 2]] * 4
    assert outputs.confidence(own, texts).tolist() == pytest.approx([math.exp(each / 3) for each in log_probs])
    right = [[1, 2], [1, 3], [1, 2], [4, 5]]
    settled = replace(own, certainty=outputs.curve(own, None, right))  # type: ignore[arg-type]
    found = outputs.confidence(settled, texts)
    assert found.mean() == pytest.approx((1 + 0.5 + 1 + 0) / 4, abs=1e-6)
    assert found.argsort().tolist() == [3, 1, 2, 0]
    saved = KIND.load(KIND.save(settled))
    assert outputs.confidence(saved, texts).tolist() == pytest.approx(found.tolist())


def test_ctc_beside_the_decoder_weighs_what_was_found() -> None:
    own = writing(writer(frames=1), lengths=(6, 5), width=4)
    plain, weighed = own.nbests(), replace(own, ctc=50.0, notes=Notes()).nbests()
    for one, two in zip(plain, weighed, strict=True):
        assert sorted(found.ids for found in one) == sorted(found.ids for found in two)
        assert all(found.score < found.log_prob for found in two)
    assert [nbest[0].ids for nbest in plain] != [nbest[0].ids for nbest in weighed]


def test_the_mean_of_both_kinds_is_that_of_the_larger_share() -> None:
    one, two, steps = writing(writer(1)), writing(writer(2)), dense(spelled([""] * 4, [[1]] * 4, 6, 2))
    found = Texts().mean([steps, one, two], torch.tensor([0.4, 0.3, 0.3]))
    assert [float(member.share) for member in found.members] == pytest.approx([0.5, 0.5])
    assert isinstance(Texts().mean([steps, one], torch.tensor([0.6, 0.4])), Column)


def test_a_temperature_flattens_what_comes_next() -> None:
    own, given = writer(), memory((3,)).gather(torch.arange(1))
    begun = own.begin(given.values, given.mask())
    flat = Begun(own, begun.pairs, begun.mask, torch.tensor(2.0))
    start = torch.zeros(1, dtype=torch.int64)
    sharp, soft = (one.step(start, torch.arange(1), None)[0] for one in (begun, flat))
    torch.testing.assert_close(soft, (sharp / 2).log_softmax(-1))
    warm = KIND.tempered(KIND.tempered(writing(own, lengths=(3,)), torch.tensor(4.0)), torch.tensor(0.5))
    with torch.no_grad():
        assert float(forced(warm, torch.tensor([[-1]]))) == pytest.approx(-float(soft[0, EDGE]), abs=1e-5)
    assert math.isfinite(float(warm.losses(torch.tensor([[1]]))))
