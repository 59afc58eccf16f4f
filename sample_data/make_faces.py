"""Draws faces to compare: `python sample_data/make_faces.py FOLDER` writes pictures and tables of them.

pairs.csv is of pairs, people.csv tells who is on each; staff.csv has two pictures each of ten people of test, door.csv two
others of all fourteen.

64 people are a dozen numbers each (how wide the head is, how far apart the eyes are, ...). Four pictures of each differ in
light, tilt, place, size and expression. A pair is two pictures of one person, or of two; people of train, val and test differ.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance

PEOPLE, PICTURES, PAIRS = 64, 4, 12
SIZE, SCALE = 64, 4
UNKNOWN = 4
"""People of test who are not in staff.csv: the last ones."""
SPLITS = ("train",) * 40 + ("val",) * 10 + ("test",) * 14


def person(drawn: random.Random) -> dict[str, float]:
    """What does not change from picture to picture, from 0 to 1."""
    parts = ("width", "height", "skin", "apart", "eye", "brow", "nose", "nose_width", "mouth", "hair", "hair_dark", "beard")
    return {part: drawn.random() for part in parts}


def picture(own: dict[str, float], drawn: random.Random) -> Image.Image:
    """One picture of a person, as it happens to be taken."""
    side = SIZE * SCALE
    image = Image.new("L", (side, side), drawn.randint(60, 200))
    pen, middle = ImageDraw.Draw(image), side / 2
    wide, high = side * (0.24 + 0.1 * own["width"]), side * (0.32 + 0.1 * own["height"])
    skin, dark = int(140 + 90 * own["skin"]), int(20 + 110 * own["hair_dark"])
    top = middle - high
    pen.ellipse((middle - wide * 1.1, top - side * 0.06 * own["hair"], middle + wide * 1.1, middle + high * 0.5), fill=dark)
    pen.ellipse((middle - wide, top + side * 0.03, middle + wide, middle + high), fill=skin)
    if own["beard"] > 0.6:
        pen.chord((middle - wide, middle - high, middle + wide, middle + high), 25, 155, fill=dark)
    pen.rectangle((middle - wide, top, middle + wide, top + high * (0.2 + 0.35 * own["hair"])), fill=dark)
    eyes, apart, size = middle - high * 0.1, wide * (0.35 + 0.25 * own["apart"]), side * (0.02 + 0.03 * own["eye"])
    for place in (middle - apart, middle + apart):
        pen.ellipse((place - size, eyes - size * 0.7, place + size, eyes + size * 0.7), fill=20)
        brow = eyes - size - side * (0.02 + 0.04 * own["brow"])
        pen.line((place - size * 1.4, brow, place + size * 1.4, brow), fill=dark, width=SCALE * 2)
    nose = eyes + high * (0.25 + 0.25 * own["nose"])
    pen.line((middle, eyes + size, middle - wide * 0.2 * own["nose_width"], nose, middle, nose), fill=skin - 60, width=SCALE)
    mouth, half, smile = middle + high * 0.6, wide * (0.25 + 0.35 * own["mouth"]), drawn.uniform(-0.03, 0.06) * side
    pen.line((middle - half, mouth - smile, middle, mouth, middle + half, mouth - smile), fill=60, width=SCALE * 2)
    image = image.rotate(drawn.uniform(-12, 12), Image.Resampling.BICUBIC, fillcolor=128)
    around = drawn.uniform(0.9, 1.15) * side / 2
    across, down = (middle + drawn.uniform(-0.06, 0.06) * side for _ in range(2))
    box = tuple(round(value) for value in (across - around, down - around, across + around, down + around))
    taken = image.crop(box).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    return ImageEnhance.Brightness(taken).enhance(drawn.uniform(0.6, 1.3))


def main(folder: Path) -> None:
    drawn, rows = random.Random(0), []
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for number in range(PEOPLE):
        own = person(drawn)
        for view in range(PICTURES):
            picture(own, drawn).save(folder / f"pictures/{number:02}_{view}.png")
    for number, split in enumerate(SPLITS):
        others = [other for other, own in enumerate(SPLITS) if own == split and other != number]
        for place in range(PAIRS):
            other = number if place % 2 else drawn.choice(others)
            one = drawn.randrange(PICTURES)
            two = drawn.choice([view for view in range(PICTURES) if other != number or view != one])
            names = [f"pictures/{who:02}_{view}.png" for who, view in ((number, one), (other, two))]
            rows.append([*names, "yes" if other == number else "no", split])
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["photo_a", "photo_b", "same", "split"], *rows])
    every = [[f"pictures/{who:02}_{view}.png", f"p{who:02}", SPLITS[who]] for who in range(PEOPLE) for view in range(PICTURES)]
    test = [(row[:2], place % PICTURES) for place, row in enumerate(every) if row[2] == "test"]
    for name, columns, lines in (
        ("people", ["photo", "person", "split"], every),
        ("staff", ["photo", "person"], [row for row, view in test if view < 2 and row[1] < f"p{PEOPLE - UNKNOWN}"]),
        ("door", ["photo", "person"], [row for row, view in test if view >= 2]),
    ):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([columns, *lines])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draws people, and writes tables of their pictures.")
    parser.add_argument("folder", type=Path, help="where to: made if it is not there")
    main(parser.parse_args().folder)
