"""Words of a language beside n-grams: what follows a word's beginning, and how both are mixed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmcli.text import likely
from mmcli.text.lexicon import Lexicon, letter, parts
from mmcli.text.likely import Likely
from mmcli.text.ngram import text_log_prob
from mmcli.text.units import Units

OFTEN = {"der": 0.4, "den": 0.2, "die": 0.3, "des": 0.1, "straße".casefold(): 0.05, "don't": 0.05}
TEXTS = ["Der den die", "die der Ehe", "Don’t, die der"]


def model(share: float, often: dict[str, float] | None = OFTEN, more: tuple[str, ...] = ()) -> tuple[Likely, Units]:
    units = Units.fit(TEXTS, "char").with_more(more)
    grams = json.loads(json.dumps(likely.fit(TEXTS, [], units)))
    return Likely.of(grams, units, likely.words(TEXTS, units), often, share), units


def test_words_are_parted_as_they_are_listed() -> None:
    assert parts("Don’t, 'e-mail' 3x Straße हिन्दी!") == ["don't", "e", "mail", "x", "strasse", "हिन्दी"]
    assert [letter(char) for char in "Äß-'’ 7İ"] == ["ä", "ss", "", "'", "'", "", "", "i"]


def test_what_follows_a_beginning_is_how_often_its_words_are_used() -> None:
    own = Lexicon(OFTEN, 0.5, ["r", "n", "i", "s", "ss", "e", "d"])
    each, end = own.following("de") or (np.zeros(0), 0.0)
    assert each == pytest.approx([4 / 7, 2 / 7, 0, 1 / 7, 0, 0, 0])
    assert end == 0
    each, end = own.following("der") or (np.zeros(0), 0.0)
    assert each == pytest.approx(np.zeros(7))
    assert end == 1
    assert own.following("x") is None
    each, _ = own.following("stra") or (np.zeros(0), 0.0)
    assert each[[3, 4]] == pytest.approx([0.5, 0.5])  # s and ß lead to the same words, which count once
    assert "der" in own
    assert "de" not in own
    again = Lexicon.from_state(own.state(), own.letters)
    assert again.share == 0.5
    for beginning in ("", "d", "de", "don"):
        one, other = own.following(beginning), again.following(beginning)
        assert one is not None
        assert other is not None
        assert (one[0] == other[0]).all()
        assert one[1] == other[1]


def test_both_are_mixed_by_share_and_each_case_is_as_likely_as_n_grams_have_it() -> None:
    (plain, units), (mixed, _) = model(0.0, None), model(0.6)
    for text in ("", "d", "de", "der", "Der d", "die, ", "Don", "Don’", "xyz", "dex"):
        prefix = tuple(units.known_ids(text))
        assert np.exp(mixed.next_log_probs(prefix)).sum() == pytest.approx(1)
    prefix = tuple(units.ids("d"))
    before, after = np.exp(plain.next_log_probs(prefix)), np.exp(mixed.next_log_probs(prefix))
    small, large = units.ids("eE")
    both = before[[small, large]].sum()
    words = (0.4 + 0.2 + 0.1) / 1.05  # of those that begin with d
    # Of i and o likewise; what goes on with a letter that is no unit is left to n-grams.
    assert after[[small, large]] == pytest.approx(0.4 * before[[small, large]] + 0.6 * words * before[[small, large]] / both)
    ends = [0, *units.ids(" ,")]
    assert after[ends] == pytest.approx(0.4 * before[ends])  # d is no word
    assert after[-1] == pytest.approx(0.4 * before[-1])  # what can be no answer
    prefix = tuple(units.ids("der"))
    before, after = np.exp(plain.next_log_probs(prefix)), np.exp(mixed.next_log_probs(prefix))
    assert after[ends] == pytest.approx(0.4 * before[ends] + 0.6 * before[ends] / before[ends].sum())
    assert after[small] == pytest.approx(0.4 * before[small])


def test_letters_that_are_two_in_the_list_make_nothing_likelier_than_it_is() -> None:
    texts = ["groß gross", "Größe 37", "das dass daß"]
    units = Units.fit(texts, "char")
    often = {"gross": 0.4, "grosse": 0.2, "grob": 0.1, "dass": 0.3}
    mixed = Likely.of(likely.fit(texts, [], units), units, (), often, 0.8)
    for text in ("", "gro", "gros", "groß", "da", "das", "dass", "3", "37", "x"):
        assert np.exp(mixed.next_log_probs(tuple(units.known_ids(text)))).sum() == pytest.approx(1), text


def test_figures_are_left_to_n_grams() -> None:
    texts = ["die 37", "der 2019"]
    units = Units.fit(texts, "char")
    grams = likely.fit(texts, [], units)
    plain, mixed = Likely.of(grams, units), Likely.of(grams, units, (), {"die": 0.5, "der": 0.5}, 0.8)
    for text in ("die 3", "der 2", "der 201"):
        prefix = tuple(units.ids(text))
        ends = [0, *units.ids(" 012379")]
        before, after = np.exp(plain.next_log_probs(prefix)), np.exp(mixed.next_log_probs(prefix))
        assert after[ends] == pytest.approx(before[ends])
    assert mixed.strange(units.ids("2019")) == 0


def test_between_words_n_grams_say_whether_one_begins_and_words_which() -> None:
    with_d = {word: own for word, own in OFTEN.items() if word[0] == "d"}
    (plain, units), (mixed, _) = model(0.0, None), model(0.9, with_d)
    prefix = tuple(units.ids("die "))
    before, after = np.exp(plain.next_log_probs(prefix)), np.exp(mixed.next_log_probs(prefix))
    ends = [0, *units.ids(" ,")]
    assert after[ends] == pytest.approx(before[ends])
    letters = units.ids("dD")
    assert after[letters].sum() == pytest.approx(0.1 * before[letters].sum() + 0.9 * (1 - before[ends].sum()))


def test_after_what_begins_no_word_n_grams_are_alone() -> None:
    (plain, units), (mixed, _) = model(0.0, None), model(0.6)
    prefix = tuple(units.ids("ee"))
    assert (mixed.next_log_probs(prefix) == plain.next_log_probs(prefix)).all()


def test_listed_words_are_not_strange_and_it_comes_back_from_its_arrays() -> None:
    mixed, units = model(0.6, more=("Straße-des xo",))
    texts = {"des": 0, "Des den": 0, "dex": 1, "Straße-des": 0, "Straße-dex": 1, "ehe,": 0}
    for text, strange in texts.items():
        assert mixed.strange(units.ids(text)) == strange
    again = Likely.from_state(mixed.state(), units.names)
    for text in ("die der", "Don’t, des", "ex"):
        assert text_log_prob(again.wary(1.0), units.ids(text)) == text_log_prob(mixed.wary(1.0), units.ids(text))
    assert text_log_prob(mixed, units.ids("des die")) > text_log_prob(
        model(0.0, None, ("Straße-des xo",))[0], units.ids("des die")
    )
