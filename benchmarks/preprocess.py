"""How fast media become shards on disk, beside the peer in the same run.

    python benchmarks/preprocess.py [--only images|audio|text|video|memory] [--json] [--check]

Pictures: the peer is a loop of Pillow's decode and bicubic resize in two processes, which keeps nothing; mmcli decodes,
resizes, normalises and writes shards. Sound, text and clips have bars in cells per second. Memory: a table of 2,000 and of
20,000 rows. Every figure is the better of two, after a run to warm the cache.
"""

from __future__ import annotations

import csv
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _table import Row, finish, measured, options
from PIL import Image

MMCLI = str(Path(sys.executable).with_name("mmcli"))
SIDE = 64
IMAGES = (("256 x 256", (256, 256), 3072, 2.5), ("1024 x 768", (1024, 768), 1024, 3.2), ("4000 x 3000", (4000, 3000), 128, 4.5))


def photograph(size: tuple[int, int], seed: int) -> Image.Image:
    """Smooth shapes with some grain, so that JPEG has the work it has with photographs."""
    generator = np.random.default_rng(seed)
    small = Image.fromarray(generator.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = generator.normal(0, 2.5, (size[1], size[0], 1))
    return Image.fromarray(np.clip(np.asarray(small) + grain, 0, 255).astype(np.uint8))


def pillow(path: str) -> int:
    """What the peer does with a picture."""
    with Image.open(path) as image:
        return int(np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))[0, 0, 0])


def best_of(times: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest call, after one that does not count."""
    work()
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)


def shards(table: Path, kind: str, rows: int, **config: object) -> float:
    """Seconds to read a table's column `cell`, transform it and write its shards."""
    from mmcli import registry
    from mmcli.artifacts.store import Draft
    from mmcli.data import sharding
    from mmcli.reporting.console import Console
    from mmcli.tables.reading import open_table

    opened = open_table(table)
    part = registry.load("modalities", kind)
    cells = sharding.resolved(opened.head(2000)["cell"].tolist(), str(table.parent), part)
    modality = part.fit(registry.config_of(part)(**config), iter(cells))

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            draft = Draft(Path(folder), {}, resumed=False)
            arguments = {"draft": draft, "previous": None, "workers": 0, "console": Console(quiet=True)}
            made = sharding.write_shards(opened, rows, {"cell": modality}, str(table.parent), **arguments)
            assert not made.rejects, made.rejects[:1]

    return best_of(2, work)


def table_of(folder: Path, cells: list[str]) -> Path:
    """A table with the column `cell` and a label."""
    path = folder / "data.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["cell", "label"])
        writer.writerows([cell, "ab"[number % 2]] for number, cell in enumerate(cells))
    return path


def images(folder: Path) -> list[Row]:
    rows = []
    for name, size, count, bar in IMAGES:
        own = folder / name.replace(" ", "")
        own.mkdir()
        for number in range(8):
            photograph(size, number).save(own / f"{number}.jpg", quality=88)
        data = {number: (own / f"{number}.jpg").read_bytes() for number in range(8)}
        for number in range(count):
            (own / f"c{number}.jpg").write_bytes(data[number % 8])
        paths = [str(own / f"c{number}.jpg") for number in range(count)]
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            peer = best_of(2, lambda paths=paths, pool=pool: pool.map(pillow, paths, chunksize=max(len(paths) // 16, 1)))
        ours = shards(table_of(own, paths), "image", count, size=SIDE)
        rows.append(Row(f"Pillow loop, 2 processes, {name}: {count / peer:,.0f} images/s", peer))
        passed = peer / ours >= bar
        rows.append(
            Row(f"mmcli, {name}: {count / ours:,.0f} images/s", ours, "Pillow", peer / ours, bar=f"{bar}", passed=passed)
        )
    return rows


def rated(what: str, count: int, seconds: float, bar: float) -> Row:
    rate = count / seconds
    return Row(f"{what}: {rate:,.0f} /s", seconds, f"{bar:,.0f} /s", rate / bar, bar="1", passed=rate >= bar)


def audio(folder: Path) -> list[Row]:
    import soundfile

    count = 4000
    for number in range(count):
        samples = np.random.default_rng(number % 50).normal(0, 0.1, 16000)
        soundfile.write(folder / f"{number}.wav", samples, 16000)
    table = table_of(folder, [f"{number}.wav" for number in range(count)])
    return [rated("1 s of sound at 16 kHz, to log-mels", count, shards(table, "audio", count), 5000)]


def text(folder: Path) -> list[Row]:
    words = ["red", "gauge", "in", "the", "shed", "电池", "温度", "needle", "stands", "left", "of", "four"]
    generator = np.random.default_rng(0)
    cells = [" ".join(generator.choice(words, 8)) for _ in range(100_000)]
    return [rated("short texts, to token ids", len(cells), shards(table_of(folder, cells), "text", len(cells)), 50_000)]


def video(folder: Path) -> list[Row]:
    import av

    for clip in range(6):
        with av.open(str(folder / f"{clip}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            still = np.asarray(photograph((480, 360), clip))
            for number in range(75):
                frame = np.ascontiguousarray(still[number : number + 240, number : number + 320])
                for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
    count = 600
    for number in range(6, count):
        (folder / f"{number}.mp4").write_bytes((folder / f"{number % 6}.mp4").read_bytes())
    table = table_of(folder, [f"{number}.mp4" for number in range(count)])
    return [rated("8 frames of 3 s of 320 x 240 H.264", count, shards(table, "video", count), 85)]


def memory(folder: Path) -> list[Row]:
    """Peak memory of the whole stage; and that appended rows alone are decoded."""
    photograph((256, 256), 0).save(folder / "one.jpg")
    data = (folder / "one.jpg").read_bytes()
    rows, first = [], 0.0
    for count in (2000, 20_000):
        for number in range(count):
            path = folder / f"{number}.jpg"
            if not path.exists():
                path.write_bytes(data)
        table = table_of(folder, [f"{number}.jpg" for number in range(count)])
        root = str(folder / f"artifacts{count}")
        seconds, peak, status = measured([MMCLI, "preprocess", str(table), "--quiet", "--artifacts", root])
        assert not status
        first = first or peak
        rows.append(Row(f"mmcli preprocess, {count:,} rows", seconds, "2,000", peak / first, peak, "1.1", peak <= 1.1 * first))
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([*lines, *(f"{number}.jpg,a" for number in range(256))]) + "\n", encoding="utf-8")
    seconds, peak, status = measured([MMCLI, "preprocess", str(table), "--quiet", "--artifacts", root])
    assert not status
    ratio = seconds / rows[-1].seconds
    rows.append(Row("the same with 256 rows appended", seconds, "20,000", ratio, peak, "0.6", ratio < 0.6))
    return rows


def main() -> None:
    """All of them, or one."""
    parser = options(str(__doc__))
    parts = {"images": images, "audio": audio, "text": text, "video": video, "memory": memory}
    parser.add_argument("--only", choices=parts)
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name, part in parts.items():
        if arguments.only in {None, name}:
            with tempfile.TemporaryDirectory() as folder:
                rows += part(Path(folder))
    finish(rows, arguments)


if __name__ == "__main__":
    main()
