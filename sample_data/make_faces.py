"""Draws faces to compare: `python sample_data/make_faces.py FOLDER` writes pictures and tables of them.

pairs.csv is of pairs, people.csv tells who is on each; staff.csv has two pictures each of ten people of test, door.csv two
others of all fourteen. With `--scenes` scenes.csv tells the same of larger pictures with two people on each: in `face` stands
the box around the one who is meant, in `eyes` where the eyes are.

64 people are a dozen numbers each (how wide the head is, how far apart the eyes are, ...). Four pictures of each differ in
light, tilt, place, size and expression. A pair is two pictures of one person, or of two; people of train, val and test differ.
"""

from __future__ import annotations

import argparse
import cmath
import csv
import json
import math
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


def picture(own: dict[str, float], drawn: random.Random) -> tuple[Image.Image, list[list[float]]]:
    """One picture of a person, as it happens to be taken; and where the eyes are, [[x, y], [x, y]]."""
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
    tilt = drawn.uniform(-12, 12)
    image = image.rotate(tilt, Image.Resampling.BICUBIC, fillcolor=128)
    around = drawn.uniform(0.9, 1.15) * side / 2
    across, down = (middle + drawn.uniform(-0.06, 0.06) * side for _ in range(2))
    box = tuple(round(value) for value in (across - around, down - around, across + around, down + around))
    taken = image.crop(box).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    turned = [middle * (1 + 1j) + complex(x, eyes - middle) * cmath.exp(-1j * math.radians(tilt)) for x in (-apart, apart)]
    less = SIZE / (box[2] - box[0])
    places = [[(place.real - box[0]) * less, (place.imag - box[1]) * less] for place in turned]
    return ImageEnhance.Brightness(taken).enhance(drawn.uniform(0.6, 1.3)), places


def scenes(folder: Path, rows: list[list[str]], eyes: dict[str, list[list[float]]], drawn: random.Random) -> None:
    """Larger pictures, two people of one split on each; a row for each person, with a box and the eyes."""
    (folder / "scenes").mkdir(exist_ok=True)
    told = []
    for split in dict.fromkeys(SPLITS):
        own = [row for row in rows if row[2] == split]
        drawn.shuffle(own)
        for pair in zip(own[::2], own[1::2], strict=True):
            scene = Image.new("L", (3 * SIZE, 2 * SIZE), drawn.randint(40, 220))
            name = f"scenes/{split}_{len(told) // 2:03}.png"
            for place, (photo, who, _) in enumerate(pair):
                side = drawn.randint(SIZE * 3 // 4, SIZE * 5 // 4)
                left, top = place * 3 * SIZE // 2 + drawn.randint(0, SIZE // 4), drawn.randint(0, 2 * SIZE - side)
                taken = Image.open(folder / photo).resize((side, side), Image.Resampling.LANCZOS)
                scene.paste(taken, (left, top))
                places = [[round(left + x * side / SIZE, 1), round(top + y * side / SIZE, 1)] for x, y in eyes[photo]]
                told.append([name, json.dumps([left, top, side, side]), json.dumps(places), who, split])
            scene.save(folder / name)
    with (folder / "scenes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["photo", "face", "eyes", "person", "split"], *told])


def main(folder: Path, with_scenes: bool) -> None:
    drawn, rows, eyes = random.Random(0), [], {}
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for number in range(PEOPLE):
        own = person(drawn)
        for view in range(PICTURES):
            name = f"pictures/{number:02}_{view}.png"
            taken, eyes[name] = picture(own, drawn)
            taken.save(folder / name)
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
    if with_scenes:
        scenes(folder, every, eyes, drawn)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draws people, and writes tables of their pictures.")
    parser.add_argument("folder", type=Path, help="where to: made if it is not there")
    parser.add_argument("--scenes", action="store_true", help="also larger pictures with two people on each, and scenes.csv")
    given = parser.parse_args()
    main(given.folder, given.scenes)
