"""The decoder as a head: what it minimises, how long a text may be, what val sets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from mmcli.errors import ConfigError
from mmcli.heads.decoder import Config, Decoder
from mmcli.signals import Fused
from mmcli.tasks.text import Text
from mmcli.text import Hypothesis
from mmcli.text.ctc import score as ctc_score
from mmcli.text.writing import Notes, Writings, forced
from tests.tasks.test_text import cells, fitted

KIND = Writings()
WORDS = ["red cat", "cat", "big red cat", "red", "big cat"]


def task() -> Text:
    return fitted(WORDS, units="word")


def built(**options: object) -> Decoder:
    torch.manual_seed(0)
    return Decoder(Config(dim=8, heads=2, layers=1, dropout=0.0, **options), task(), 6).eval()  # type: ignore[arg-type]


def fused(rows: int = 5, steps: int = 4) -> Fused:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(rows, steps, 6, generator=generator)
    return Fused(torch.randn(rows, 6, generator=generator), tokens, torch.arange(steps)[None] <= torch.arange(rows)[:, None])


def test_the_loss_is_smoothed_in_training_only_and_counts_the_end() -> None:
    head, given, targets = built(smoothing=0.2), fused(), task().encode(cells(WORDS))
    outputs = head(given)
    lengths = torch.tensor([len(text.split()) + 1 for text in WORDS])
    torch.testing.assert_close(head.loss(outputs, given, targets), (forced(outputs, targets) / lengths).mean())
    head.train()
    wanted = (forced(outputs, targets, 0.2) / lengths).mean()
    torch.testing.assert_close(head.loss(head(given), given, targets), wanted)


def test_rows_of_a_training_batch_look_at_their_own_tokens() -> None:
    """The batch as it was made is for all of its rows in their order; others are looked up."""
    head, given, targets = built().train(), fused(), task().encode(cells(WORDS))
    outputs, order = head(given), torch.tensor([3, 0, 4])
    assert outputs.members[0].batch is not None
    torch.testing.assert_close(forced(KIND.gather(outputs, order), targets[order]), forced(outputs, targets)[order])
    assert KIND.plain(outputs).members[0].batch is None


def test_with_ctc_beside_it_rows_with_too_few_tokens_are_taught_by_the_decoder_alone() -> None:
    head, given, targets = built(ctc_weight=0.3), fused(), task().encode(cells(WORDS))
    assert head.writer.frames is not None
    outputs = head(given)
    total = 0.0
    for row, text in enumerate(WORDS):
        steps = row + 1 if row < 4 else 4
        own = given.tokens[row : row + 1, :steps]  # type: ignore[index]
        ids = task().units.ids(text)
        value = ctc_score(head.writer.read(own)[0].detach(), ids)
        total += 0.0 if value == -float("inf") else -value / len(ids)
    lengths = torch.tensor([len(text.split()) + 1 for text in WORDS])
    wanted = 0.7 * (forced(outputs, targets) / lengths).mean() + 0.3 * total / len(WORDS)
    torch.testing.assert_close(head.loss(outputs, given, targets), wanted)


def test_a_row_without_tokens_is_written_from_its_pooled_features() -> None:
    head, given = built(), fused()
    assert given.mask is not None
    without = replace(given, mask=given.mask & (torch.arange(5) != 2)[:, None])
    pooled = head(Fused(given.pooled))
    found, alone = KIND.gather(head(without), torch.tensor([2])), KIND.gather(pooled, torch.tensor([2]))
    targets = torch.tensor([[1, 2]])
    torch.testing.assert_close(found.losses(targets), alone.losses(targets))


def test_limits_follow_from_the_train_texts_and_the_tokens() -> None:
    head, given = built().train(), fused()
    head.loss(head(given), given, task().encode(cells(WORDS)))
    assert (int(head.longest), int(head.ratio)) == (3, 2000)  # two words on the one token of the first row
    limits = head(given).limits.tolist()
    assert limits == [3 + 4, 4 + 4, 4 + 4, 4 + 4, 4 + 4]  # 1.25 times the least of 3 and 2 a token, and 4
    fresh = built()
    assert fresh(given).limits.tolist() == [8] * 5


def test_val_chooses_the_power_of_the_length() -> None:
    head, own = built(), task()
    outputs = KIND.plain(head(fused(2)))
    right = ["big red cat", "cat"]
    long, short = own.units.ids("big red cat"), own.units.ids("cat")
    for row in range(2):
        outputs.notes.texts[row] = [Hypothesis(short, -2.0, -2.0), Hypothesis(long, -3.0, -3.0)]
    head.settle(outputs, own.encode(cells([right[0], right[0]])))
    assert float(head.exponent) > 0.58  # -3 / 4^x is above -2 / 2^x from there on
    head.settle(outputs, own.encode(cells([right[1], right[1]])))
    assert float(head.exponent) < 0.6
    assert head(fused()).exponent == float(head.exponent)


def test_while_training_nothing_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    head, given = built().train(), fused()
    monkeypatch.setattr("mmcli.text.writing._search", None)
    loss = head.loss(head(given), given, task().encode(cells(WORDS)))
    loss.backward()
    assert all(own.grad is not None for own in head.parameters())


def test_beam_of_one_is_greedy_and_more_find_no_worse() -> None:
    torch.manual_seed(3)
    greedy, wide = built(beam=1), built(beam=8)
    for own in (greedy, wide):
        nn.init.normal_(own.writer.embed.weight, generator=torch.Generator().manual_seed(0))
    one, many = greedy(fused()), wide(fused())
    assert one.width == 1
    narrow = replace(many, width=1, notes=Notes())
    assert [nbest[0].ids for nbest in one.nbests()] == [nbest[0].ids for nbest in narrow.nbests()]
    for few, best in zip(one.nbests(), many.nbests(), strict=True):
        assert max(found.log_prob for found in best) >= few[0].log_prob - 1e-5


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="heads = 3 does not divide dim = 8"):
        Decoder(Config(dim=8, heads=3), task(), 6)
