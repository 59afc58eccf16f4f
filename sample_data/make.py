"""Makes the sample table: `python sample_data/make.py`. Everything here is drawn and worded by this script.

A row is a photo of a gauge and a note that says what the gauge is of. What to do follows from both:

    gauge    battery    temperature    tank
    low      charge     heat           fill
    high     unplug     cool           drain

The picture alone leaves three actions open, the note alone two; together they leave one. A third of the notes is Chinese, and
a few cells are empty, as in real tables.
"""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).parent
ROWS = 360
SIZE, SCALE = 64, 4

ACTIONS = {
    ("battery", "low"): "charge",
    ("battery", "high"): "unplug",
    ("temperature", "low"): "heat",
    ("temperature", "high"): "cool",
    ("tank", "low"): "fill",
    ("tank", "high"): "drain",
}
THINGS = {
    "en": {
        "battery": ["battery", "battery pack", "power cell", "accumulator", "charge of the lamp"],
        "temperature": ["temperature", "heat of the room", "boiler thermometer", "oven temperature", "thermometer"],
        "tank": ["water tank", "oil reservoir", "rain barrel", "fuel level", "level in the tank"],
    },
    "zh": {
        "battery": ["电池", "蓄电池", "电量", "手电筒的电量", "电池组"],
        "temperature": ["温度", "室温", "锅炉的温度", "烤箱温度", "温度计"],
        "tank": ["水箱", "油箱", "雨水桶", "燃料液位", "水箱液位"],
    },
}
PLACES = {
    "en": ["in the shed", "on deck two", "behind the kitchen", "at gate 4", "in the greenhouse", "by the stairs"],
    "zh": ["棚子里的", "二号甲板的", "厨房后面的", "四号门的", "温室里的", "楼梯旁的"],
}
PHRASES = {
    "en": [
        "{thing}, {place}",
        "Reading taken {place}: {thing}.",
        "Checked the {thing} {place} this morning",
        "{thing} ({place})",
        "Please look at the {thing} {place}!",
    ],
    "zh": [
        "{place}{thing}",
        "今早检查了{place}{thing}",
        "请看{place}{thing}！",
        "读数：{place}{thing}。",
        "{thing}（{place}仪表）",
    ],
}
PAPER = ["#f7f4ea", "#eef3f7", "#f3eef7", "#e9f2ea", "#dfe6e9", "#fbeee6"]
FACE = ["#ffffff", "#fffdf5", "#24313d", "#f2fbff"]
NEEDLE = ["#c0392b", "#d35400", "#8e44ad", "#2471a3", "#117a65"]


def gauge(level: str, draw_from: random.Random) -> Image.Image:
    """A dial whose needle stands left (low) or right (high), in many looks."""
    side = SIZE * SCALE
    picture = Image.new("RGB", (side, side), draw_from.choice(PAPER))
    draw = ImageDraw.Draw(picture)
    radius = side * draw_from.uniform(0.30, 0.42)
    x = side / 2 + draw_from.uniform(-0.06, 0.06) * side
    y = side / 2 + draw_from.uniform(-0.06, 0.06) * side
    face = draw_from.choice(FACE)
    ink = "#f5f5f5" if face == "#24313d" else "#34495e"
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=face, outline=ink, width=draw_from.randint(4, 9))
    tilt = draw_from.uniform(-12, 12)
    for tick in range(-120, 121, draw_from.choice([20, 30, 40])):
        _line(draw, (x, y), radius * 0.78, radius * 0.92, tick + tilt, ink, 4)
    angle = draw_from.uniform(35, 120) * (-1 if level == "low" else 1) + tilt
    _line(draw, (x, y), -radius * 0.15, radius * 0.74, angle, draw_from.choice(NEEDLE), draw_from.randint(8, 14))
    hub = radius * 0.12
    draw.ellipse((x - hub, y - hub, x + hub, y + hub), fill=ink)
    return picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS).quantize(24)


def _line(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], near: float, far: float, degrees: float, fill: str, width: int
) -> None:
    """A stroke of a dial; 0 degrees is up, clockwise."""
    direction = (math.sin(math.radians(degrees)), -math.cos(math.radians(degrees)))
    ends = [(centre[0] + direction[0] * r, centre[1] + direction[1] * r) for r in (near, far)]
    draw.line(ends, fill=fill, width=width)


def note(quantity: str, language: str, draw_from: random.Random) -> str:
    """What the gauge is of, in many words."""
    phrase = draw_from.choice(PHRASES[language])
    text = phrase.format(thing=draw_from.choice(THINGS[language][quantity]), place=draw_from.choice(PLACES[language]))
    return text[0].upper() + text[1:]


def main() -> None:
    """Writes images/ and data.csv beside this script; the same bytes each time."""
    draw_from = random.Random(20240607)
    images = HERE / "images"
    images.mkdir(exist_ok=True)
    kinds = list(ACTIONS)
    with (HERE / "data.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "photo", "note", "action"])
        for number in range(ROWS):
            quantity, level = kinds[number % len(kinds)]
            language = "zh" if draw_from.random() < 1 / 3 else "en"
            name = f"images/{number:04d}.png"
            gauge(level, draw_from).save(HERE / name, optimize=True)
            text = note(quantity, language, draw_from)
            absent = draw_from.random()
            photo = "" if absent < 0.01 else name
            writer.writerow([f"g{number:04d}", photo, "" if absent > 0.99 else text, ACTIONS[quantity, level]])


if __name__ == "__main__":
    main()
