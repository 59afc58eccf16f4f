"""Targets that are texts: how they are told, what they are written in, what of them counts, and scores against known ones."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmcli.errors import DataError
from mmcli.heads.ctc import Config as HeadConfig
from mmcli.heads.ctc import Ctc
from mmcli.reporting import text_metrics
from mmcli.signals import Column, Fused, Kind
from mmcli.tasks import Evidence
from mmcli.tasks.text import Config, Text
from mmcli.text import Hypothesis, lattice
from mmcli.text.lattice import Search
from mmcli.text.spelled import SURE, dense, spelled
from mmcli.text.units import Units, fold, normalised
from mmcli.text.writing import Writing

SENTENCES = [f"the {animal} sat on {count} mats" for animal in ("cat", "dog", "owl", "hen", "fox") for count in range(10)]


def cells(texts: list[str]) -> list[tuple[str | None, ...]]:
    return [(text,) for text in texts]


def fitted(texts: list[str], **options: object) -> Text:
    return Text.fit(Config(**options), cells(texts), ["t"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("texts", "is_text"),
    [
        (SENTENCES, True),
        ([f"第{number}只猫坐在垫子上" for number in range(40)], True),
        (["red apple", "green pear"] * 30, False),  # come again and again: classes
        ([f"c{number}" for number in range(60)], False),  # single words
        ([f"{number} {number + 1}" for number in range(60)], False),  # numbers
        (SENTENCES[:10], False),  # too few to tell
    ],
)
def test_a_text_is_told_by_words_that_hardly_come_twice(texts: list[str], is_text: bool) -> None:
    found = Text.sniff(Config(), cells(texts))
    assert (found.confidence > 0.5) == is_text
    if is_text:
        assert f"{len(set(texts))} different ones in {len(texts)} rows" in found.reason


def test_units_follow_from_the_texts() -> None:
    digits = [f"{a} {b}" for a in ("one", "two", "six") for b in ("one", "two", "six")] * 5
    assert Units.fit(digits).kind == "word"
    assert Units.fit(digits).ids("six one") == [2, 1]
    assert Units.fit([*SENTENCES, "once alone"]).kind == "char"  # a word that comes once can't be learnt as one
    assert Units.fit(["猫坐在垫子上", "狗坐在垫子上"] * 20).kind == "char"
    many = [" ".join(f"word{(row * 7 + place) % 900}" for place in range(12)) for row in range(1800)]
    assert Units.fit(many).kind == "bpe"


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_texts_come_back_from_their_units(kind: str) -> None:
    texts = ["Die Katze saß hier", "die Katze, schläft", "saß die Katze hier"]
    units = Units.fit(texts, kind)  # type: ignore[arg-type]
    again = Units.from_state(json.loads(json.dumps(units.state())))
    for text in texts:
        assert 0 not in units.ids(text)
        assert again.text(again.ids(text)) == text
        assert max(units.ids(text)) <= len(units)
    assert units.longest == max(len(units.ids(text)) for text in texts)


def test_what_only_val_has_is_kept_to_be_held_against_and_anything_else_is_refused() -> None:
    task = fitted(["abc", "cab"], units="char").admitting(cells(["xab"]))
    assert (len(task.units), task.units.known) == (4, 3)
    assert task.texts_of(task.encode(cells(["xab", "cab"]))) == ["xab", "cab"]
    with pytest.raises(DataError, match="character 'q' of the text 'abq' is in no row"):
        task.encode(cells(["abq"]))
    assert "(and 1 that train never has)" in task.summary()


def test_what_counts() -> None:
    assert normalised("ＡＢ\u3000c\u00a0 d") == "AB c d"
    assert normalised("Straße, GUT!", "case") == "strasse, gut!"
    assert normalised("Straße, GUT!", "all") == "strasse gut"
    assert fold("它，好。") == "它好"


@pytest.mark.parametrize(
    ("texts", "spoken", "metric"),
    [
        (SENTENCES, True, "wer"),
        (["猫坐在垫子上", "狗在跑"], True, "cer"),
        (SENTENCES, False, "chrf"),
        (["猫坐", "狗跑"], False, "chrf"),
    ],
)
def test_the_metric_by_rule(texts: list[str], spoken: bool, metric: str) -> None:
    config = Text.suited(Config(), ["audio", "image"] if spoken else ["image"])
    assert Text.fit(config, cells(texts), ["t"]).primary_metric == metric
    assert Text.fit(config.model_copy(update={"metric": "bleu"}), cells(texts), ["t"]).primary_metric == "bleu"


def test_scores_are_those_of_the_texts_that_were_written() -> None:
    right = ["The cat sat.", "a dog ran", "an owl"]
    task = fitted([*right, "the cat sat"], units="char")
    written = ["the cat sat", "a dog ran", "an awl"]
    targets = task.encode(cells(right))
    outputs = dense(task.spelled([*written[:2], "an owl"], targets))
    found = task.score(outputs, targets)
    assert found["wer"] == pytest.approx(2 / 8)  # The, sat.
    assert found["cer"] == pytest.approx(2 / 27)
    assert found["exact"] == pytest.approx(2 / 3)
    assert found["bleu"] == pytest.approx(
        float(
            text_metrics.bleu(text_metrics.sums(["the cat sat", "a dog ran", "an owl"], right, "13a"), right, np.ones((1, 3)))[
                0
            ]
        )
    )  # type: ignore[arg-type]
    more = task.intervals(outputs, targets, more=True)
    assert more["wer_folded"].value == more["cer_folded"].value == 0
    assert task.worst_rows(outputs, targets, 5) == [(0, "wrote 'the cat sat' for 'The cat sat.'")]


def test_the_loss_is_that_of_torch_a_unit_and_ragged_rows_keep_their_own_steps() -> None:
    task = fitted(["ab", "ba", "aab"], units="char")
    generator = torch.Generator().manual_seed(0)
    lengths = [4, 6, 5]
    values = torch.randn(sum(lengths), task.width, generator=generator).log_softmax(1)
    offsets = torch.tensor([0, 4, 10, 15])
    outputs = Column(values, torch.ones(3, dtype=torch.bool), offsets)
    targets = task.encode(cells(["ab", "aab", "ba"]))
    each = []
    for row, text in enumerate(["ab", "aab", "ba"]):
        own = values[offsets[row] : offsets[row + 1]][:, None]
        ids = torch.tensor([task.units.ids(text)])
        each.append(F.ctc_loss(own, ids, (lengths[row],), (len(text),), reduction="sum"))
    torch.testing.assert_close(lattice.losses(outputs, targets), torch.stack(each))
    assert task.score(outputs, targets)["loss"] == pytest.approx(float(sum(each)) / 7, rel=1e-5)
    assert float(task.loss(outputs, targets)) == pytest.approx(float(each[0] / 2 + each[1] / 3 + each[2] / 2) / 3, rel=1e-5)


def test_loops_and_full_texts_are_told_of_rows_that_have_them() -> None:
    task = fitted(["a b", "b a", "a b a b"], units="word")
    a, b = task.units.ids("a b")
    outputs = dense(spelled([""] * 3, [[a, b] * 6, [a, b], [b]], task.width, 0))
    targets = task.encode(cells(["a b", "a b", "b"]))
    (said,) = task.remarks(outputs, targets)
    assert said == "1 of 3 texts ends in one piece over and over, the first: 'a b a b a b a b a b a b'"
    assert task.remarks(outputs.select(torch.tensor([1, 2])), targets[1:]) == []


def test_the_beam_of_a_settled_head_is_what_is_told_and_one_that_reads_greedily_has_none() -> None:
    head = Ctc(HeadConfig(), fitted(SENTENCES), 4)
    assert head.beam is None  # nothing is settled yet
    head.search[0] = 8.0
    assert head.beam == 8
    head.beam = 3
    fused = Fused(torch.zeros(1, 4), torch.zeros(1, 2, 4), torch.ones(1, 2, dtype=torch.bool))
    assert Search.of(head(fused)).beam == 3  # and goes with its outputs
    head.beam = 1
    assert head.beam is None


def test_a_settled_head_searches_and_training_goes_on_greedily() -> None:
    task = fitted(SENTENCES, units="char", metric="cer")
    head, targets = Ctc(HeadConfig(), task, 5).eval(), task.encode(cells(SENTENCES))
    steps = int((targets >= 0).sum(1).max())
    tokens = torch.randn(len(SENTENCES), steps, 5, generator=torch.Generator().manual_seed(0))
    fused = Fused(tokens.mean(1), tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))
    before = task.outputs.plain(head(fused))
    greedy = task.score(before, targets)["cer"]
    head.settle(before, targets)
    after = task.outputs.plain(head(fused))
    assert task.score(after, targets)["cer"] < greedy
    assert task.score(task.outputs.glimpse(after), targets)["cer"] == greedy
    assert task.decode(after)[""] != task.decode(before)[""]


def test_a_beam_of_one_stays_greedy_and_has_one_answer() -> None:
    task = fitted(SENTENCES, units="char", beam=1)
    outputs = dense(spelled(SENTENCES, [task.units.ids(text) for text in SENTENCES], task.width, 30))
    assert task.tuned(outputs, task.encode(cells(SENTENCES))).beam == 1
    assert (task.most_answers, fitted(SENTENCES).most_answers) == (1, 8)


def test_models_are_averaged_step_by_step() -> None:
    kind = Text.outputs
    one, two = (dense(spelled(["", ""], [[unit], [1, 1]], 4, 5)) for unit in (1, 2))
    mean = kind.mean([one, two], torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(mean.values.exp(), 0.75 * one.values.exp() + 0.25 * two.values.exp())
    longer = dense(spelled(["", ""], [[3], [3]], 4, 9))
    assert kind.mean([one, longer], torch.tensor([0.4, 0.6])) is longer
    named = kind.save(one)
    torch.testing.assert_close(kind.load(named).values, one.values, atol=2e-3, rtol=1e-3)


def test_baselines_write_texts_of_train() -> None:
    texts = ["one two", "one two three", "one", "one to"]
    task = fitted(texts, units="word")
    targets = task.encode(cells([*texts, "one two"]))
    train = torch.arange(4)
    medoid = task.written(task.constant_baseline(targets[train], 2))
    assert medoid == ["one two"] * 2  # the fewest edits to the others
    features = np.array([[1.0, 0], [0, 1], [1, 1], [-1, 0], [0.1, 1]])
    nearest = task.written(task.nearest_baseline(features, targets, train))
    assert nearest[4] == "one two three"
    assert nearest[1] == "one"  # never a train row's own
    assert math.isfinite(task.score(task.nearest_baseline(features, targets, train), targets)["loss"])


@pytest.mark.parametrize(
    ("kind", "in_order", "seconds", "head"),
    [
        ("ids", True, 0.0, ("decoder", {})),
        ("grid", True, 0.0, ("ctc", {})),
        ("grid", False, 0.0, ("decoder", {})),
        ("spectrogram", True, 35_999.0, ("ctc", {})),
        ("spectrogram", True, 36_001.0, ("decoder", {"ctc_weight": 0.3})),
        ("clip", False, 0.0, ("decoder", {})),
        ("fields", False, 0.0, ("decoder", {"layers": 1})),
    ],
)
def test_the_head_follows_from_the_input(
    kind: Kind, in_order: bool, seconds: float, head: tuple[str, dict[str, float]]
) -> None:
    assert fitted(SENTENCES).head_for(kind, in_order, seconds) == head


def writing_of(nbests: list[list[Hypothesis]]) -> Writing:
    """What such texts were found for, so that nothing is to be searched."""
    count = len(nbests)
    made = Writing((), torch.arange(count), torch.full((count,), 50))
    made.notes.texts.update(enumerate(nbests))
    return made


def test_what_a_decoder_writes_is_read_scored_and_told_with_its_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    task = fitted(["a cat", "the cat sat", "a dog"], units="word")
    found = [Hypothesis(task.units.ids("a cat"), math.log(0.5), math.log(0.5)), Hypothesis([], -9.0, -9.0)]
    monkeypatch.setattr(Writing, "losses", lambda _, targets: torch.ones(len(targets)))
    outputs = writing_of([found, [found[0]]])
    assert task.decode(outputs) == {"": ["a cat", "a cat"], "_confidence": [round(0.5 ** (1 / 3), 6)] * 2}
    score = task.score(outputs, task.encode(cells(["a cat", "a dog"])))
    assert score["exact"] == 0.5
    assert score["wer"] == 0.25
    assert score["loss"] == 0.5  # two of the loss over four units


def test_rows_that_are_only_glimpsed_over_change_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    task = fitted(["a cat", "the cat sat", "a dog"], units="word")
    monkeypatch.setattr(Writing, "losses", lambda _, targets: torch.arange(len(targets)) + 1.0)
    best = [[Hypothesis(task.units.ids(text), -1.0, -1.0)] for text in ("a cat", "a cat", "a dog", "the cat sat")]
    targets = task.encode(cells(["a cat", "the cat sat", "a cat", "a dog"]))
    some = replace(writing_of(best), glimpsed=frozenset([0, 2]))
    del some.notes.texts[1], some.notes.texts[3]
    two, four = task.score(writing_of([best[0], best[2]]), targets[[0, 2]]), task.score(some, targets)
    assert {name: four[name] for name in task.metrics} == pytest.approx({name: two[name] for name in task.metrics})
    assert four["loss"] == 10 / 9


def test_texts_that_are_known_are_kept_as_they_are() -> None:
    task = fitted(["ab", "ba"], units="char")
    targets = task.encode(cells(["ab", "bb", "a"]))
    outputs = task.spelled(["ab", "a😀b ", ""], targets)  # the second has what is no unit
    kind = Text.outputs
    again = kind.load(kind.save(outputs, "copy:x"), "copy:x")
    assert task.written(again) == ["ab", "a😀b ", ""]
    some = kind.gather(again, torch.tensor([2, 0]))
    assert task.written(some) == ["", "ab"]
    whole = dense(some)
    assert whole.offsets is not None and whole.offsets.tolist() == [0, 3, 6]  # what `bb` needs, a blank between
    torch.testing.assert_close(lattice.losses(some, targets[[2, 0]]), lattice.losses(whole, targets[[2, 0]]))
    assert float(lattice.losses(some, targets[[2, 0]])[1]) == pytest.approx(-3 * math.log(SURE), abs=0.01)
    assert kind.load(kind.save(task.spelled([""], targets)))


def test_more_baselines_have_the_scores_of_what_they_write() -> None:
    right = ["red cat", "blue cat", "red dog", "blue dog", "old cat"]
    source = ["rot katze", "blau katze", "rot hund", "blau hund", "alt katze ñ"]
    task = fitted(right[:4], units="char").admitting(cells(right))
    targets, train, val = task.encode(cells(right)), torch.arange(4), torch.tensor([4])
    features = np.eye(5)
    inputs = {"de": Evidence(features, source), "image": Evidence(features)}
    found = task.more_baselines(inputs, targets, train, val)
    assert list(found) == ["empty", "nearest:de", "copy:de", "dictionary:de", "nearest:image"]
    scores = {name: task.score(own, targets) for name, own in found.items()}
    assert (scores["empty"]["wer"], scores["empty"]["cer"], scores["empty"]["chrf"], scores["empty"]["exact"]) == (1, 1, 0, 0)
    assert task.written(found["copy:de"]) == source
    assert scores["copy:de"]["wer"] == pytest.approx(11 / 10)
    assert scores["copy:de"]["cer"] == pytest.approx(
        sum(text_metrics.edits(one, other) for one, other in zip(source, right, strict=True)) / sum(map(len, right))
    )
    assert task.written(found["dictionary:de"]) == [*right[:4], "alt cat ñ"]
    assert scores["dictionary:de"]["exact"] == pytest.approx(0.8)
    foreign = task.more_baselines({"zh": Evidence(features, ["红猫", "蓝猫", "红狗", "蓝狗", "老猫"])}, targets, train, val)
    assert list(foreign) == ["empty", "dictionary:zh"]  # no copy of another script, and one input is nearest itself


def test_what_is_attributed_needs_no_text_and_what_cannot_be_written_costs_a_blind_guess() -> None:
    task = fitted(["ab", "ba", "aab"], units="char")
    values = torch.randn(7, task.width, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    outputs = Column(values, torch.ones(2, dtype=torch.bool), torch.tensor([0, 5, 7]))
    targets = task.encode(cells(["ab", "aab"]))  # the second has 2 steps and needs 4
    rows, right = task.attributed(outputs, targets)
    first = float(lattice.losses(outputs, targets)[0])
    np.testing.assert_allclose(rows, [[first, 2], [3 * math.log(3), 3]], rtol=1e-6)
    found = task.measures()[task.attributed_by](rows, right, np.array([[1.0, 1.0], [1.0, 0.0]]))
    np.testing.assert_allclose(found, [(first + 3 * math.log(3)) / 5, first / 2], rtol=1e-6)


def test_other_texts_are_scored_over_all_ways_to_write_them() -> None:
    task = fitted(["ab", "ba"], units="char")
    shares = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])  # blank, a, b
    outputs = Column(shares.log(), torch.ones(1, dtype=torch.bool), torch.tensor([0, 2]))
    for text, share in {"ab": 0.5 * 0.7, "a": 0.5 * 0.2 + 0.5 * 0.1 + 0.2 * 0.2, "": 0.2 * 0.1}.items():
        assert task.scores_of(outputs, [text])[0] == pytest.approx(math.log(share), abs=1e-5)
    assert task.scores_of(outputs, ["aa"])[0] == -math.inf  # needs three steps
    assert task.scores_of(outputs, ["ax"])[0] == -math.inf  # x is no unit


def test_pairs_are_words_or_characters() -> None:
    task = fitted(["one two", "one three"], units="word")
    targets = task.encode(cells(["one two"]))
    assert task.pairs(task.spelled(["one three"], targets), targets) == ([(["one", "three"], ["one", "two"])], " ")
    chinese = fitted(["红猫", "蓝狗"])
    targets = chinese.encode(cells(["红猫"]))
    assert chinese.pairs(chinese.spelled(["红狗"], targets), targets) == ([(["红", "狗"], ["红", "猫"])], "")


def test_the_surest_rows_come_first_where_coverage_is_drawn() -> None:
    texts = [f"{'ab' if row % 2 else 'ba'}" for row in range(20)]
    task = fitted(["ab", "ba"], units="char", metric="cer")
    targets = task.encode(cells(texts))
    written = [text if row < 10 else "aa" for row, text in enumerate(texts)]
    wrong = dense(task.spelled(written, targets))
    assert wrong.lengths is not None
    sure = torch.where(torch.arange(20) < 10, 1.0, 0.3).repeat_interleave(wrong.lengths)[:, None]
    unsure = Column((wrong.values * sure).log_softmax(1), wrong.present, wrong.offsets)
    drawing, caption = task.draw(unsure, targets)["coverage"]
    assert caption.endswith("0.000 of the surest tenth, 0.000 of half, 0.500 of all.")
    assert "WER: 0.444 at 0.9" in drawing.standalone()  # 8 of 18


def test_what_is_written_takes_the_place_of_targets() -> None:
    task = fitted(["ab", "b", "ba"], units="char")
    targets = task.encode(cells(["ab", "b", "ba", "a"]))
    found = task.dictated(task.spelled(["b", "", "abab", "ab"], targets), targets)
    assert task.texts_of(found) == ["b", "b", "ba", "ab"]  # nothing, and what is too long for a target, teach nothing
    assert found.shape == targets.shape
    assert task.texts_of(targets) == ["ab", "b", "ba", "a"]
    assert task.lacks("distillation") == ""
    assert "these answers are texts" in task.lacks("calibration")


def test_a_settled_head_is_settled_again_for_another_width() -> None:
    task = fitted(["ab", "ba", "aabb", "bab"], units="char")
    head = Ctc(HeadConfig(), task, 4)
    targets = task.encode(cells(["ab", "ba"]))
    outputs = dense(task.spelled(["ab", "ba"], targets))
    head.settle_beam(4, outputs, targets)
    assert head.beam is None  # greedy is right already: no beam is better
    assert round(float(head.search[0])) == 1
    assert head.searches
