"""Where the words of a text are: along frames of CTC, in seconds, as JSON and as subtitles. Knows no disk.
Needs no torch: it goes with exported models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mmcli.text import viterbi
from mmcli.text.prefixes import Floats

Spell = Callable[[Sequence[int]], str]
"""From units to the text that they are."""


class Timed(NamedTuple):
    """A word from its `start` to before its `end`, in steps or in seconds; neither is known of a text that no sound led to."""

    word: str
    start: float | None
    end: float | None
    confidence: float
    """The mean probability of its units, each over its steps."""


def timed(frames_TV: Floats, ids: Sequence[int], spell: Spell, each_letter: bool) -> list[Timed]:
    """The words of a text in steps, on the likeliest alignment; in scripts without blanks each letter is one."""
    spans, found = viterbi.align(frames_TV, ids), []
    for word, own in _parted(ids, spell, each_letter):
        parts = [spans[place] for place in own]
        sure = sum(part.confidence for part in parts) / len(parts)
        found.append(Timed(word, parts[0].start, parts[-1].end, sure))
    return found


def _parted(ids: Sequence[int], spell: Spell, each_letter: bool) -> list[tuple[str, list[int]]]:
    """The words of a text, each with the places of its units: a letter is of the unit with which it is whole."""
    text, owner = spell(ids), list[int]()
    for place in range(len(ids)):
        so_far = spell(ids[: place + 1]).rstrip("\ufffd")  # half a letter of bytes
        owner += [place] * (min(len(so_far), len(text)) - len(owner))
    owner += [len(ids) - 1] * (len(text) - len(owner))
    words: list[tuple[str, list[int]]] = []
    goes_on = False
    for letter, place in zip(text, owner, strict=True):
        if letter.isspace():
            goes_on = False
            continue
        if goes_on and not each_letter:
            word, own = words[-1]
            words[-1] = (word + letter, own if own[-1] == place else [*own, place])
        else:
            words.append((letter, [place]))
        goes_on = True
    return words


def in_seconds(words: Sequence[Timed], steps: int, frames: int, stride: int, frame_s: float) -> list[Timed]:
    """The words in seconds, a step being `stride` frames long; where a row's frames do not make so many steps, it is parted
    evenly. Nothing ends after the last frame."""
    step_s = frame_s * (stride if -(-frames // stride) == steps else frames / max(steps, 1))
    whole = frames * frame_s
    return [
        Timed(word, round(min((start or 0) * step_s, whole), 3), round(min((end or 0) * step_s, whole), 3), sure)
        for word, start, end, sure in words
    ]


def untimed(words: Sequence[Timed]) -> list[Timed]:
    """The words of a text that no sound led to."""
    return [Timed(own.word, None, None, own.confidence) for own in words]


def as_json(row: int, words: Sequence[Timed]) -> str:
    """One line: the row, counted from 1, and its words with start and end in seconds."""
    found = [{"word": own.word, "start": own.start, "end": own.end, "confidence": round(own.confidence, 6)} for own in words]
    return json.dumps({"row": row, "words": found}, ensure_ascii=False)


def as_srt(words: Sequence[Timed]) -> str:
    """Subtitles (SubRip): a word each, numbered from 1."""
    return "".join(
        f"{number}\n{_clock(own.start or 0.0)} --> {_clock(own.end or 0.0)}\n{own.word}\n\n"
        for number, own in enumerate((own for own in words if own.start is not None), 1)
    )


def _clock(seconds: float) -> str:
    millis = round(seconds * 1000)
    return f"{millis // 3_600_000:02d}:{millis // 60_000 % 60:02d}:{millis // 1000 % 60:02d},{millis % 1000:03d}"
