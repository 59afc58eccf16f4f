"""Makes the table of readings: `python sample_data/make_texts.py`. Everything here is drawn and sounded by this script.

A row is a number of two to five figures, which somebody says and somebody writes down:

    sound    audio   its words one after the other, a whistle of its own for each, in noise
    picture  image   its figures side by side, of seven strokes as on a display
    text     the target: the words, such as `seven two nine`
    split    240 rows train, 40 val, 60 test

Of each word it is drawn who has it: both, only the sound (its figure is smudged), only the picture (its whistle is drowned by
noise), or neither. So each column alone leaves words open; together they leave few.
"""

from __future__ import annotations

import csv
import math
import random
import struct
from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).parent
SPLITS = {"train": 240, "val": 40, "test": 60}
WHO = {"both": 0.36, "sound": 0.31, "picture": 0.31, "neither": 0.02}
"""How often a word can be made out in both columns, in one of them, in none."""
WIDTH, HEIGHT, SCALE = 96, 24, 4
RATE = 8000

WORDS = {
    "zero": (500, 500),
    "one": (500, 1000),
    "two": (500, 2000),
    "three": (1000, 500),
    "four": (1000, 1000),
    "five": (1000, 2000),
    "six": (2000, 500),
    "seven": (2000, 1000),
    "eight": (2000, 2000),
    "nine": (3200, 3200),
}
"""Between which pitches, in Hz, a word's whistle goes."""
STROKES = {
    "zero": "abcdef",
    "one": "bc",
    "two": "abged",
    "three": "abgcd",
    "four": "fgbc",
    "five": "afgcd",
    "six": "afgedc",
    "seven": "abc",
    "eight": "abcdefg",
    "nine": "abcdfg",
}
ENDS = {
    "a": ((0, 0), (1, 0)),
    "b": ((1, 0), (1, 1)),
    "c": ((1, 1), (1, 2)),
    "d": ((0, 2), (1, 2)),
    "e": ((0, 1), (0, 2)),
    "f": ((0, 0), (0, 1)),
    "g": ((0, 1), (1, 1)),
}
"""Where a stroke starts and ends, in half heights of a figure."""
PAPER = ["#f7f4ea", "#eef3f7", "#ffffff", "#e9f2ea"]
INK = ["#1b2631", "#7b241c", "#1a5276", "#145a32"]


def picture(words: list[str], who: list[str], draw_from: random.Random) -> Image.Image:
    """Figures spread over the strip; a smudge in the place of those that only the sound has."""
    strip = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), draw_from.choice(PAPER))
    draw = ImageDraw.Draw(strip)
    ink, pitch = draw_from.choice(INK), WIDTH * SCALE / len(words)
    for place, (word, own) in enumerate(zip(words, who, strict=True)):
        half = draw_from.uniform(6.5, 8.5) * SCALE
        wide = draw_from.uniform(8, 11) * SCALE
        left = pitch * (place + 0.5) - wide / 2 + draw_from.uniform(-2, 2) * SCALE
        top = HEIGHT * SCALE / 2 - half + draw_from.uniform(-1.5, 1.5) * SCALE
        lean = draw_from.uniform(-1, 2) * SCALE
        if own in ("sound", "neither"):
            for _ in range(9):
                x, y = left + draw_from.uniform(0, 1) * wide, top + draw_from.uniform(0.1, 1.9) * half
                r = draw_from.uniform(1.5, 4) * SCALE
                draw.ellipse((x - r, y - r, x + r, y + r), fill=ink)
            continue
        for stroke in STROKES[word]:
            ends = [(left + x * wide + lean * (1 - y), top + y * half) for x, y in ENDS[stroke]]
            draw.line(ends, fill=ink, width=draw_from.randint(6, 10))
    return strip.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).quantize(16)


def sound(words: list[str], who: list[str], draw_from: random.Random) -> bytes:
    """A WAV, 8 bits: each word a whistle of about 0.15 s, or noise where the picture alone has it; short pauses between."""
    voice, hiss = draw_from.uniform(0.92, 1.08), draw_from.uniform(4, 8)
    data = bytearray()
    for word, own in zip(words, who, strict=True):
        count = round(RATE * draw_from.uniform(0.13, 0.17))
        drowned = own in ("picture", "neither")
        loud, rush = (0.0, 40.0) if drowned else (draw_from.uniform(40, 70), 0.0)
        start, end = (pitch * voice for pitch in WORDS[word])
        turn = 0.0
        for step in range(count):
            share = step / count
            turn += 2 * math.pi * (start + (end - start) * share) / RATE
            swell = math.sin(math.pi * share) ** 0.5
            noise = draw_from.gauss(0, hiss + rush * swell)
            data.append(min(max(round(128 + loud * swell * math.sin(turn) + noise), 0), 255))
        data.extend(min(max(round(128 + draw_from.gauss(0, hiss)), 0), 255) for _ in range(RATE // 40))
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE, 1, 8)
    body = b"WAVE" + form + b"data" + struct.pack("<I", len(data)) + bytes(data)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def row(number: int, split: str, draw_from: random.Random) -> list[str]:
    """One reading; writes its files."""
    words = [draw_from.choice(list(WORDS)) for _ in range(draw_from.randint(2, 5))]
    who = draw_from.choices(list(WHO), list(WHO.values()), k=len(words))
    spoken, printed = f"spoken/{number:04d}.wav", f"printed/{number:04d}.png"
    (HERE / spoken).write_bytes(sound(words, who, draw_from))
    picture(words, who, draw_from).save(HERE / printed)
    return [spoken, printed, " ".join(words), split]


def main() -> None:
    """Writes spoken/, printed/ and texts.csv beside this script; the same bytes each time."""
    draw_from = random.Random(20240608)
    for folder in ("spoken", "printed"):
        (HERE / folder).mkdir(exist_ok=True)
    splits = [split for split, rows in SPLITS.items() for _ in range(rows)]
    rows = [row(number, split, draw_from) for number, split in enumerate(splits)]
    with (HERE / "texts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["sound", "picture", "text", "split"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
