"""Makes the sample table: `python sample_data/make.py`. Everything here is drawn and worded by this script.

A row is a visit to a gauge. What to do follows from two things, what the gauge is of and how it stands:

    gauge    battery    temperature    tank
    low      charge     heat           fill
    high     unplug     cool           drain

    photo    image      the dial: low or high
    clip     video      the needle moving, up or down to where it stands; half of the visits have one
    sound    audio      the hum of the thing: a battery, a boiler or a pump, in noise
    note     text       what the gauge is of, two thirds in English, one third in Chinese
    reading  number     near the needle, but often missing
    crew     category   who went: crews mostly, not always, see to one kind of thing
    when     date       says nothing
    probe    vector     four numbers that say a little of everything
    action   the target

Each column alone leaves actions open; together they leave one. Cells are empty, as in real tables, and two files are bad: a
photo that was cut off, and a recording that is an error page.
"""

from __future__ import annotations

import csv
import math
import random
import struct
from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).parent
ROWS = 300
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


def clip(level: str, draw_from: random.Random) -> list[Image.Image]:
    """Six frames of a needle on its way."""
    side, frames = 32, []
    paper, ink = draw_from.choice(PAPER), draw_from.choice(NEEDLE)
    end = draw_from.uniform(40, 110) * (-1 if level == "low" else 1)
    start = end + draw_from.uniform(60, 120) * (1 if level == "low" else -1)
    for step in range(6):
        picture = Image.new("RGB", (side * SCALE, side * SCALE), paper)
        draw = ImageDraw.Draw(picture)
        middle = side * SCALE / 2
        _line(draw, (middle, middle), 0, middle * 0.8, start + (end - start) * step / 5, ink, 10)
        frames.append(picture.resize((side, side), Image.Resampling.LANCZOS).quantize(8))
    return frames


def sound(quantity: str, draw_from: random.Random) -> bytes:
    """A WAV of 0.4 s: a battery buzzes, a boiler rumbles, a pump beats; all in noise. 8 bits, 4 kHz."""
    rate, count = 4000, 1600
    pitch = {"battery": 700.0, "temperature": 240.0, "tank": 440.0}[quantity] * draw_from.uniform(0.8, 1.25)
    beat = draw_from.uniform(9, 14) if quantity == "tank" else 0.0
    loud, hiss = draw_from.uniform(18, 40), draw_from.uniform(20, 34)
    data = bytearray()
    for place in range(count):
        moment = place / rate
        value = loud * math.sin(2 * math.pi * pitch * moment)
        value *= 0.5 + 0.5 * math.cos(2 * math.pi * beat * moment)
        data.append(min(max(round(128 + value + draw_from.gauss(0, hiss)), 0), 255))
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate, 1, 8)
    body = b"WAVE" + form + b"data" + struct.pack("<I", len(data)) + bytes(data)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def row(number: int, draw_from: random.Random) -> list[str]:
    """One visit; writes its files."""
    quantity, level = list(ACTIONS)[number % len(ACTIONS)]
    language = "zh" if draw_from.random() < 1 / 3 else "en"
    names = {kind: f"{kind}/{number:04d}.{end}" for kind, end in (("photos", "png"), ("clips", "gif"), ("sounds", "wav"))}
    cells = {"photo": "", "clip": "", "sound": "", "note": "", "reading": ""}
    if draw_from.random() < 0.95:
        gauge(level, draw_from).save(HERE / names["photos"])
        cells["photo"] = names["photos"]
    if draw_from.random() < 0.5:
        first, *rest = clip(level, draw_from)
        first.save(HERE / names["clips"], save_all=True, append_images=rest, duration=120, loop=0)
        cells["clip"] = names["clips"]
    if draw_from.random() < 0.9:
        (HERE / names["sounds"]).write_bytes(sound(quantity, draw_from))
        cells["sound"] = names["sounds"]
    if draw_from.random() < 0.95:
        cells["note"] = note(quantity, language, draw_from)
    if draw_from.random() < 0.6:
        cells["reading"] = f"{draw_from.gauss(35 if level == 'low' else 65, 15):.1f}"
    own = {"battery": "Ampere", "temperature": "Kelvin", "tank": "Neptun"}[quantity]
    crew = own if draw_from.random() < 0.6 else draw_from.choice(["Ampere", "Kelvin", "Neptun", "夜班"])
    day = draw_from.randint(0, 364)
    when = f"2025-{day // 31 + 1:02}-{day % 28 + 1:02}"
    hints = [quantity == "battery", quantity == "temperature", quantity == "tank", level == "high"]
    probe = "[" + ", ".join(f"{hint + draw_from.gauss(0, 1.2):.2f}" for hint in hints) + "]"
    return [f"v{number:04d}", *cells.values(), crew, when, probe, ACTIONS[quantity, level]]


def main() -> None:
    """Writes photos/, clips/, sounds/ and data.csv beside this script; the same bytes each time."""
    draw_from = random.Random(20240607)
    for folder in ("photos", "clips", "sounds"):
        (HERE / folder).mkdir(exist_ok=True)
    rows = [row(number, draw_from) for number in range(ROWS)]
    cut = HERE / next(cells[1] for cells in rows[40:] if cells[1])
    cut.write_bytes(cut.read_bytes()[:700])
    page = HERE / next(cells[3] for cells in rows[90:] if cells[3])
    page.write_text("<!doctype html><title>404 Not Found</title>\n", encoding="utf-8")
    with (HERE / "data.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "photo", "clip", "sound", "note", "reading", "crew", "when", "probe", "action"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
