"""Words looked up one by one, with and without blanks between them."""

from __future__ import annotations

from typing import Any

from mmcli.exports.dictionary import looked_up

TABLE: dict[str, Any] = {
    "blanks": True,
    "first": {"cat": [1, 2], "the": []},
    "later": {"cat": [9, 1, 2], "the": []},
    "between": [9],
    "letters": {"o": 5, "x": 6},
}


def test_words_become_what_the_table_says() -> None:
    assert looked_up(["cat", "cat cat", "the cat", "", "  "], TABLE) == [[1, 2], [1, 2, 9, 1, 2], [1, 2], [], []]


def test_unknown_words_are_spelt_as_far_as_letters_are_known() -> None:
    assert looked_up(["ox cat", "cat fox", "zzz cat"], TABLE) == [[5, 6, 9, 1, 2], [1, 2, 9, 5, 6], [1, 2]]
    assert looked_up(["ox"], {**TABLE, "letters": {}}) == [[]]


def test_where_no_blanks_part_words_each_character_is_one() -> None:
    table = {"blanks": False, "first": {"猫": [3]}, "later": {"猫": [3]}, "between": [], "letters": {"a": 4}}
    assert looked_up([" 猫a猫 "], table) == [[3, 4, 3]]
