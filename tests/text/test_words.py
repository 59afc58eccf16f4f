"""When words are said: on lattices made by hand, with units of all kinds, and in the two formats to the letter."""

from __future__ import annotations

import json
import math

import pytest
import torch

from mmcli.signals import Column
from mmcli.text import searching, words
from mmcli.text.units import Units
from mmcli.text.words import Timed


def along(path: list[int], width: int, sure: list[float] | None = None) -> Column:
    """A lattice of one row that says the path, each step with its probability."""
    chances = sure or [0.9] * len(path)
    values = torch.stack([torch.full((width,), (1 - chance) / (width - 1)).log() for chance in chances])
    for step, (unit, chance) in enumerate(zip(path, chances, strict=True)):
        values[step, unit] = math.log(chance)
    return Column(values, torch.ones(1, dtype=torch.bool), torch.tensor([0, len(path)]))


def test_words_by_word() -> None:
    units = Units.fit(["one two", "two one"], "word")
    one, two = units.ids("one two")
    path = [0, 0, two, two, 0, one, 0, one, one, 0]
    sure = [0.9, 0.9, 0.6, 0.8, 0.9, 0.5, 0.9, 0.7, 0.9, 0.9]
    (found,) = searching.timed(along(path, 3, sure), [[two, one, one]], units, each_letter=False)
    assert [(own.word, own.start, own.end) for own in found] == [("two", 2, 4), ("one", 5, 6), ("one", 7, 9)]
    assert [own.confidence for own in found] == pytest.approx([0.7, 0.5, 0.8])


def test_words_of_letters() -> None:
    units = Units.fit(["ab cd"], "char")
    a, b, blank, c = units.ids("ab c")
    path = [0, a, 0, 0, b, b, blank, 0, c, 0]
    lattice = along(path, len(units) + 1, [0.9, 0.5, 0.9, 0.9, 0.7, 0.9, 0.9, 0.9, 0.6, 0.9])
    (found,) = searching.timed(lattice, [[a, b, blank, c]], units, each_letter=False)
    assert [(own.word, own.start, own.end) for own in found] == [("ab", 1, 6), ("c", 8, 9)]
    assert [own.confidence for own in found] == pytest.approx([(0.5 + 0.8) / 2, 0.6])
    (letters,) = searching.timed(lattice, [[a, b, blank, c]], units, each_letter=True)
    assert [(own.word, own.start, own.end) for own in letters] == [("a", 1, 2), ("b", 4, 6), ("c", 8, 9)]
    (none,) = searching.timed(lattice, [[]], units, each_letter=False)
    assert none == []


def test_words_of_pieces_even_of_half_letters() -> None:
    units = Units.fit(["die Katze", "ein Hund"], "bpe", 256)  # bytes alone: ü is two of them
    ids = units.ids("für es")
    assert len(ids) == 7
    (found,) = searching.timed(along(ids, len(units) + 1), [ids], units, each_letter=False)
    # The blank is a piece by itself here, and of neither word.
    assert [(own.word, own.start, own.end) for own in found] == [("für", 0, 4), ("es", 5, 7)]


def test_steps_in_seconds() -> None:
    given = [Timed("a", 0, 2, 0.5), Timed("b", 24, 26, 0.5)]
    # 101 frames of 10 ms in steps of 4 are 26 steps, the last of one frame: nothing ends after 1.01 s.
    assert words.in_seconds(given, 26, 101, 4, 0.01) == [Timed("a", 0.0, 0.08, 0.5), Timed("b", 0.96, 1.01, 0.5)]
    # 90 frames in 30 steps are not of 4 frames each: evenly.
    assert words.in_seconds([Timed("a", 10, 15, 1.0)], 30, 90, 4, 0.01) == [Timed("a", 0.3, 0.45, 1.0)]


def test_subtitles_to_the_letter() -> None:
    given = [Timed("two", 0.04, 1.2, 0.9), Timed("three", 59.9996, 3725.0375, 0.9)]
    assert words.as_srt(given) == ("1\n00:00:00,040 --> 00:00:01,200\ntwo\n\n2\n00:01:00,000 --> 01:02:05,038\nthree\n\n")
    assert words.as_srt([Timed("lost", None, None, 0.5)]) == ""
    assert words.as_srt([]) == ""


def test_a_line_of_json() -> None:
    line = words.as_json(3, [Timed("zwölf", 0.04, 0.12, 0.12345678), Timed("x", None, None, 1.0)])
    assert "zwölf" in line and "\n" not in line
    assert json.loads(line) == {
        "row": 3,
        "words": [
            {"word": "zwölf", "start": 0.04, "end": 0.12, "confidence": 0.123457},
            {"word": "x", "start": None, "end": None, "confidence": 1.0},
        ],
    }
