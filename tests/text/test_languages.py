"""Which language texts are in, and whether its words are worth anything: as train texts say that were held back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmcli.errors import ConfigError
from mmcli.tasks.text import Config, Text
from mmcli.text import languages
from mmcli.text.languages import Words
from mmcli.text.lexicon import parts
from mmcli.text.ngram import text_log_prob
from mmcli.text.units import Units

ENGLISH = [
    "The harbour was quiet before the storm arrived.",
    "She bought seven yellow apples at the market.",
    "Our neighbour plays the violin every evening.",
    "Nobody remembered where the old bridge had been.",
    "Fresh bread is best with butter and honey.",
    "He repaired his bicycle in less than an hour.",
    "Winter mornings are darker than I expected.",
    "Children laughed while the dog chased its tail.",
    "A letter from abroad lay on the kitchen table.",
    "They walked along the river until sunset.",
    "My brother doesn't drink coffee after lunch.",
    "The teacher explained why the moon changes shape.",
    "Heavy clouds covered the mountains all week.",
    "We missed the last train and waited outside.",
    "Her garden smells of roses and wet earth.",
    "Several birds were singing above the chapel.",
    "This machine counts coins faster than people do.",
    "Grandmother told us stories about her village.",
    "An empty bottle rolled slowly under the bench.",
    "Please close the window before you leave.",
]
GERMAN = [
    "Der Hafen war vor dem Sturm ganz still.",
    "Sie kaufte sieben gelbe Äpfel auf dem Markt.",
    "Niemand wusste mehr davon.",
]


def units(texts: list[str], kind: str = "char") -> Units:
    return Units.fit(texts, kind)  # type: ignore[arg-type]


def test_the_language_of_texts_is_found_and_its_words_make_further_texts_likelier() -> None:
    found = languages.found(ENGLISH, [], units(ENGLISH))
    assert found is not None
    assert found.code == "en"
    assert found.share >= 0.6
    assert found.new is not None
    assert found.new > 0.5
    assert f"since {found.new:.0%} of further words will be new to train (--lm-words none)" in found.told
    assert len(found.often) > 100_000
    assert "doesn't" in found.often
    assert found.often["the"] > 100 * found.often["harbour"]
    assert all(parts(word) == [word] for word in list(found.often)[:1000])
    plain = Text.fit(Config(lm_words="none"), [(text,) for text in ENGLISH], ["y"])
    spoken = Text.fit(Config(spoken=True), [(text,) for text in ENGLISH], ["y"])
    ids = plain.units.known_ids("The river was dark and cold.")
    assert text_log_prob(spoken.likely, ids) > text_log_prob(plain.likely, ids) + 0.3 * len(ids)


def test_others_have_other_words() -> None:
    found = languages.found(GERMAN * 7, [], units(GERMAN), "de")
    assert found is not None
    assert "strasse" in found.often
    assert languages.language_of(languages.counted(GERMAN)) == "de"
    assert languages.language_of(languages.counted(["xqz wvk", "qqq"])) == ""
    for texts in (["hello world", "hello there"], ["yes no stop go left right", "turn on the light", "volume up"]):
        assert languages.language_of(languages.counted(texts)) == "en"  # other lists have these words too


def test_words_that_come_again_and_again_need_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    def unasked(*_: object) -> str:
        raise AssertionError("it was looked for")

    monkeypatch.setattr(languages, "language_of", unasked)
    digits = ["one two", "two three one", "three", "one one two"] * 5
    assert languages.found(digits, [], units(digits)) is None
    for texts, kind in ((ENGLISH, "word"), (["猫坐下", "狗跑了", "鸟飞过"] * 5, "char")):
        assert languages.found(texts, [], units(texts, kind)) is None
        assert languages.found(texts, [], units(texts, kind), "none") is None
        with pytest.raises(ConfigError, match="not written letter by letter"):
            languages.found(texts, [], units(texts, kind), "en")


def test_words_that_help_nothing_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "words_of", lambda _: {"qqq": 0.5, "wvx": 0.5})
    assert languages.found(ENGLISH, [], units(ENGLISH)) is None


def test_a_language_without_a_list_is_told_which_there_are() -> None:
    with pytest.raises(ConfigError, match="'xx'") as error:
        languages.found(ENGLISH, [], units(ENGLISH), "xx")
    assert "de, " in str(error.value.remedy)


def test_words_travel_with_the_task_and_only_sound_looks_for_them_by_itself() -> None:
    cells = [(text,) for text in ENGLISH]
    assert Text.fit(Config(), cells, ["y"]).background.language is None
    named = Text.fit(Config(lm_words="en"), cells, ["y"])
    again = Text.from_state(json.loads(json.dumps(named.state()))).admitting([("Ж",)])
    assert named.background.language is not None
    assert "words of 'en'" in again.summary()
    assert "new to train" not in again.summary()  # it was asked for
    assert again.background.language == named.background.language
    ids = tuple(named.units.known_ids("the ha"))
    np.testing.assert_array_equal(again.likely.next_log_probs(ids), named.likely.next_log_probs(ids))
    assert "language" not in Text.fit(Config(), cells, ["y"]).state()


def test_words_used_as_often_stand_together() -> None:
    own = Words("en", {"a": 0.5, "b": 0.25, "c": 0.25}, 0.6, 0.1)
    assert own.state()["often"] == [[0.5, "a"], [0.25, "b c"]]
    assert Words.from_state(own.state()) == own
