"""The language model of a target: what it has learnt, units that cannot be an answer, files that will not do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmcli.errors import DataError
from mmcli.text import likely
from mmcli.text.likely import Likely
from mmcli.text.ngram import text_log_prob
from mmcli.text.units import Units

TEXTS = ["a dog ran", "a cat ran", "a cat sat"]


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_its_probabilities_are_those_of_all_units(kind: str) -> None:
    units = Units.fit(TEXTS, kind)  # type: ignore[arg-type]
    wider = units.with_more(["a zebra sat", "xyz"])
    grams = json.loads(json.dumps(likely.fit(TEXTS, [], units)))
    for own in (units, wider):
        model = Likely.of(grams, own)
        for prefix in ((), tuple(units.ids("a cat")), tuple(wider.ids("a cat sat"))):
            assert len(model.next_log_probs(prefix)) >= len(own) + 1
    exact = Likely.of(grams, units)
    assert np.exp(exact.next_log_probs(())).sum() == pytest.approx(1)


def test_more_texts_teach_it_what_train_does_not_say() -> None:
    units = Units.fit(TEXTS, "word")
    cat, sat, dog = (units.ids(word)[0] for word in ("cat", "sat", "dog"))
    before = Likely.of(likely.fit(TEXTS, [], units), units)
    after = Likely.of(likely.fit(TEXTS, ["dog sat"] * 5, units), units)
    assert after.next_log_probs((dog,))[sat] > before.next_log_probs((dog,))[sat] + 0.5
    assert after.next_log_probs(())[dog] > before.next_log_probs(())[dog]
    # A word that can be no answer parts its neighbours: dog is not seen before sat.
    parted = Likely.of(likely.fit(TEXTS, ["dog zebra sat"] * 5, units), units)
    assert parted.next_log_probs((dog,))[sat] < after.next_log_probs((dog,))[sat] - 0.5
    assert parted.next_log_probs((cat,))[sat] > -2


def test_a_word_that_no_text_has_costs_where_it_ends() -> None:
    units = Units.fit(["A dog, ran!", "the cat sat"], "char")
    model = Likely.of(
        likely.fit(["A dog, ran!", "the cat sat"], [], units), units, likely.words(["A dog, ran!", "the cat sat"], units)
    )
    assert model.words == {"a", "dog", "ran", "the", "cat", "sat"}
    wary, blank = model.wary(2.5), units.ids(" ")[0]
    known, others = ("dog", "dog,", "the dog", "the ", "", "!"), ("dot", "the dot,", "dot sat")
    for text in known + others:
        ids, strange = tuple(units.ids(text)), text in others
        less = model.next_log_probs(ids) - wary.next_log_probs(ids)
        ends = 2.5 * (strange and text != "dot sat")  # there it ended before
        assert less[[blank, 0]] == pytest.approx(ends)
        assert np.abs(np.delete(less, [blank, 0])).max() == 0
        assert model.strange(ids) == wary.strange(ids) == strange
        assert text_log_prob(wary, ids) == pytest.approx(text_log_prob(model, ids) - 2.5 * strange)
    assert model.wary(0.0).next_log_probs(()) is model.next_log_probs(())


def test_no_word_is_strange_where_words_are_no_matter_of_letters() -> None:
    for texts, kind in ((TEXTS, "word"), (TEXTS, "bpe"), (["猫坐下", "狗跑了"], "char")):
        units = Units.fit(texts, kind)  # type: ignore[arg-type]
        assert likely.words(texts, units) == []
        model = Likely.of(likely.fit(texts, [], units), units, [])
        assert model.wary(3.0).stranger == 0.0


def test_many_letters_are_looked_at_five_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    units = Units.fit(["a long enough text", "b"], "char")
    monkeypatch.setattr(likely, "FEW_LETTERS", 19)
    assert likely.fit(["a long enough text", "b"], [], units)["sizes"][2] == 8
    assert likely.fit(["a long enough text", "b"], ["b"], units)["sizes"][2] == 5


def test_units_that_only_val_has_are_all_as_unlikely_as_the_unknown() -> None:
    units = Units.fit(TEXTS, "char")
    wider = units.with_more(["xyz"])
    model = Likely.of(likely.fit(TEXTS, ["a xog"], units), wider)
    x, y, z = (wider.ids(letter)[0] for letter in "xyz")
    found = model.next_log_probs(tuple(wider.ids("a ")))
    assert found[x] == found[y] == found[z]
    assert (model.next_log_probs((y,)) == model.next_log_probs((x,))).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read .*No such file"),
        (b"", "has no text"),
        (b" \n\n\t\n", "has no text"),
        (b"good\nbad \xff\xfe\n", "line 2 is no UTF-8 .byte 0xff"),
        (b"a\0b\n", "no text file"),
    ],
)
def test_files_that_will_not_do(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "more.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=said) as error:
        likely.lines(path)
    assert str(path) in error.value.message
    assert error.value.remedy


def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "more.txt"
    path.write_bytes("\ufeffeins zwei\r\n\r\n  drei \n".encode())
    assert likely.lines(path) == ["eins zwei", "  drei "]


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likely, "MOST_BYTES", 10)
    path = tmp_path / "more.txt"
    path.write_text("more than ten bytes\n")
    with pytest.raises(DataError, match="more than"):
        likely.lines(path)
