"""IBM model 1 on pairs whose alignment is known, and texts that need no network."""

from __future__ import annotations

import numpy as np
import pytest

from mmcli.text import dictionary, references
from mmcli.text.dictionary import NULL, Dictionary

TOY = [("the house", "das haus"), ("the book", "das buch"), ("a book", "ein buch")]


def pairs(texts: list[tuple[str, str]]) -> list[tuple[list[str], list[str]]]:
    return [(one.split(), other.split()) for one, other in texts]


def by_hand(texts: list[tuple[str, str]], rounds: int) -> dict[tuple[str, str], float]:
    """The same by loops over sentences, as Brown et al. (1993) have it."""
    others = {word for _, other in pairs(texts) for word in other}
    share = {(e, f): 1 / len(others) for one, other in pairs(texts) for e in [NULL, *one] for f in other}
    for _ in range(rounds):
        counts = dict.fromkeys(share, 0.0)
        for one, other in pairs(texts):
            for f in other:
                total = sum(share[e, f] for e in [NULL, *one])
                for e in [NULL, *one]:
                    counts[e, f] += share[e, f] / total
        share = {(e, f): value / sum(v for (own, _), v in counts.items() if own == e) for (e, f), value in counts.items()}
    return share


@pytest.mark.parametrize("rounds", [1, 2, 10])
def test_shares_are_those_of_expectation_maximisation_by_hand(rounds: int) -> None:
    repeated = [*TOY, ("a house a", "ein haus ein")]  # a word that comes twice in a sentence counts twice
    found, wanted = Dictionary.fit(pairs(repeated), rounds).words, by_hand(repeated, rounds)
    assert {(e, f) for e, own in found.items() for f in own} == set(wanted)
    for (e, f), value in wanted.items():
        assert found[e][f] == pytest.approx(value, abs=1e-12)
    assert all(sum(own.values()) == pytest.approx(1) for own in found.values())


def test_words_are_told_apart_by_what_they_stand_beside() -> None:
    known = Dictionary.fit(pairs(TOY), 30)
    assert known.translate(["a", "book", "the", "house"]) == ["ein", "buch", "das", "haus"]
    assert known.translate(["unheard", "book"]) == ["unheard", "buch"]
    assert known.words["book"]["buch"] > 0.9


def test_a_word_without_a_counterpart_is_left_to_null() -> None:
    """`very` comes in every right text: NULL explains it, so the nouns are not all called that."""
    nouns = [("cat", "katze"), ("dog", "hund"), ("owl", "eule"), ("hen", "huhn")]
    known = Dictionary.fit([([one], ["sehr", other]) for one, other in nouns] * 3, 20)
    assert known.translate(["cat", "owl"]) == ["katze", "eule"]
    assert max(known.words[NULL], key=known.words[NULL].__getitem__) == "sehr"


def test_empty_sides_teach_nothing_and_many_links_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Dictionary.fit([([], ["a"]), (["b"], [])]).translate(["b"]) == ["b"]
    assert Dictionary.fit([]).words == {}
    monkeypatch.setattr(dictionary, "LINKS", 12)
    kept = dictionary._bounded(pairs(TOY * 2))  # 36 links: one row in three
    assert kept == pairs(TOY * 2)[::3]


def test_scripts_that_are_shared() -> None:
    assert references.share_a_script(["the cat"], ["die Katze"])
    assert not references.share_a_script(["the cat"], ["猫"])
    assert not references.share_a_script(["кошка"], ["the cat"])
    assert not references.share_a_script(["12 34"], ["the cat"])  # no letters at all
    assert references.share_a_script(["T恤 衫衣"], ["汉字"])


def test_words_are_looked_up_whatever_their_case_and_characters_where_there_are_no_blanks() -> None:
    taught, right = ["Red cat", "red dog", "blue cat"], ["红猫", "红狗", "蓝猫"]
    assert references.looked_up(["RED dog", "blue dog"], taught, right, "zh") == ["红狗", "蓝狗"]
    assert np.unique(references.looked_up(["", "x"], taught, right, "zh")).tolist() == ["", "x"]
