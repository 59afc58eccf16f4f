"""Cells that are damaged, or made to take time or memory: each is a reject that says why, or is read rightly, in time.

    python -m tests.faults.cells [--count N] [--only WORDS]

reads each beside a good one, in a process of its own, as `preprocess` does: the kind of column is told, the column is fitted,
the cells are transformed. Seconds are those that the process computes (of addresses those that pass), memory what it takes
beside what it had.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import pickle
import resource
import signal
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmcli import registry
from mmcli.data.sharding import file_stamps, resolved
from mmcli.media import addresses
from tests.faults import media, server
from tests.faults.forked import say

SECONDS, MEBIBYTES = 2.0, 512
STALLED_S = 20
"""Seconds of computing after which a cell stalls; where a machine is busy, more pass."""
LARGE = 10_000


@dataclass(frozen=True)
class Cell:
    """One hostile cell."""

    name: str
    modality: str
    make: Callable[[Path], str]
    """What stands in the cell; files that it names are made under a folder."""


GOOD: dict[str, tuple[str, ...]] = {
    "text": ("a red ball", "the blue box", "a ball"),
    "number": ("1.5", "2", "-3e2"),
    "date": ("2024-01-02", "2023-12-31", "1999-06-07"),
    "category": ("red", "blue", "red"),
    "vector": ("[1, 2, 3]", "[2.5, 1, 0]", "[0, 0, 1]"),
}
"""Cells that are read, for a column of each kind; files are made."""


def _named(modality: str, found: dict[str, media.Data]) -> Iterator[Cell]:
    for name, data in found.items():
        yield Cell(name, modality, lambda folder, name=name, data=data: _file(folder / name, data()))  # type: ignore[misc]


def _file(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return path.name


def _texts() -> Iterator[Cell]:
    huge = "9" * 400
    same: dict[str, str] = {
        "a million characters": "a" * 1_000_000,
        "a million words": "word " * 200_000,
        "a million characters of Chinese": "汉" * 1_000_000,
        "a million combining marks": "a" + "\u0301" * 1_000_000,
        "a million blanks": " " * 1_000_000 + "x",
        "half a character": "a \ud800 b",
        "halves in the wrong order": "\udc00\ud800" * 500,
        "NULs": "a\0b\0" * 500,
        "all controls": "".join(map(chr, range(1, 32))) + "\x7f\x85\u2028",
        "turned text": "\u202e\u2066" * 5000 + "x",
        "the last character": "\U0010ffff\ufffe\uffff" * 500,
        "nested lists": "[" * 100_000 + "]" * 100_000,
        "nested objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
        "1e400": "1e400",
        "-1e400": "-1e400",
        "1e-400": "1e-400",
        "nan": "nan",
        "infinity": "-Infinity",
        "400 digits": huge,
        "5,000 digits": "9" * 5000,
        "a million digits": "7" * 1_000_000,
        "a point and 400 digits": f"0.{huge}",
        "an endless exponent": f"1e{huge}",
        "underscores": "1_0",
        "other digits": "١٢٣",
        "hexadecimal": "0x1p-5000",
        "a list of 400 digits": f"[{huge}, 1, 2]",
        "a list of 5,000 digits": f"[{'9' * 5000}, 1, 2]",
        "a list of nan": "[NaN, Infinity, 1]",
        "a ragged list": "[[1, 2], [3]]",
        "a list of a list of lists": "[[[[1]]]]",
        "a list of a million": json.dumps([1] * 1_000_000),
        "a list of texts": '["a", "b", "c"]',
        "a list of null": "[null, 1, 2]",
        "year 0": "0000-01-01",
        "year 99999": "99999-12-31",
        "month 13": "2024-13-45",
        "a moment of 400 digits": f"2024-01-01 00:00:00.{huge}",
        "a moment with an odd zone": "2024-01-01T00:00:00+99:99",
        "a backslash at the end": "C:\\x\\" * 500,
        "a formula": '=HYPERLINK("http://127.0.0.1:1")',
        "a percent": "%00%ff%n%s{}",
    }
    for name, cell in same.items():
        for modality in GOOD:
            if modality != "text" or "list" not in name:
                yield Cell(f"{name} as {modality}", modality, lambda _, cell=cell: cell)  # type: ignore[misc]


def _fifo(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return "pipe"


def _loop(folder: Path) -> str:
    (folder / "one").symlink_to(folder / "other")
    (folder / "other").symlink_to(folder / "one")
    return "one"


def _folder(folder: Path) -> str:
    (folder / "folder").mkdir()
    return "folder"


def _forbidden(folder: Path) -> str:
    (folder / "forbidden").write_bytes(b"x")
    (folder / "forbidden").chmod(0)
    return "forbidden"


def _linked(folder: Path) -> str:
    (folder / "zero").symlink_to("/dev/zero")
    return "zero"


def _zip(change: Callable[[bytes], bytes], name: str = "a.png") -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as out:
            out.writestr("a.png", media.picture("PNG"))
        (folder / "a.zip").write_bytes(change((folder / "a.zip").read_bytes()))
        return f"zip://{name}::a.zip"

    return make


def zipped(data: bytes) -> Callable[[Path], str]:
    """A cell that names a member of an archive, which holds these bytes."""

    def make(folder: Path) -> str:
        with zipfile.ZipFile(folder / "b.zip", "w", zipfile.ZIP_DEFLATED) as out:
            out.writestr("a.png", data)
        return "zip://a.png::b.zip"

    return make


def _bomb(folder: Path) -> str:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out, out.open("a.png", "w") as file:
        for _ in range(1200):
            file.write(bytes(1 << 20))
    return "zip://a.png::a.zip"


def _npy(head: str) -> bytes:
    return b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head.encode() + bytes(64)


def _pickled(folder: Path) -> str:
    return _file(folder / "a.npy", _npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n") + pickle.dumps([print]))


def _places() -> Iterator[Cell]:
    places: dict[str, Callable[[Path], str]] = {
        "a folder": _folder,
        "a pipe": _fifo,
        "links in a circle": _loop,
        "no permission": _forbidden,
        "zeros without end": lambda _: "/dev/zero",
        "a link to zeros": _linked,
        "a terminal": lambda _: "/dev/tty",
        "standard input": lambda _: "/dev/stdin",
        "an empty file": lambda folder: _file(folder / "empty.png", b""),
        "memory of a process": lambda _: "/proc/self/mem",
        "a file of the kernel": lambda _: "/proc/kmsg",
        "nothing there": lambda _: "nothing.png",
        "a name of 5,000 characters": lambda _: "a" * 5000 + ".png",
        "a NUL in a name": lambda _: "a\0b.png",
        "half a character in a name": lambda _: "a\udc80.png",
        "a home of nobody": lambda _: "~nobody-here/a.png",
        "garbage in base64": lambda _: "iVBORw0KGgo" + "A" * 5000,
        "a data URI of garbage": lambda _: "data:image/png;base64,####",
        "a data URI that ends": lambda _: "data:image/png;base64,iVBORw0KGgoA",
        "a data URI of another type": lambda _: "data:text/html;base64," + base64.b64encode(b"<html>" * 99).decode(),
        "a data URI of 20 million": lambda _: "data:image/png;base64," + "A" * 20_000_000,
        "an unknown scheme": lambda _: "gopher://127.0.0.1/a.png",
        "a command as a scheme": lambda _: "pipe:cat /etc/passwd",
        "a connection refused": lambda _: "http://127.0.0.1:1/a.png",
        "a port of 99999": lambda _: "http://127.0.0.1:99999/a.png",
        "an address of nonsense": lambda _: "http://[::/a.png",
        "a zip with a wrong sum": _zip(lambda data: data[:120] + bytes([data[120] ^ 1]) + data[121:]),
        "a zip that is cut": _zip(lambda data: data[: len(data) // 2]),
        "a zip of nothing": _zip(lambda data: data[:0]),
        "a zip without the member": _zip(lambda data: data, "b.png"),
        "a zip member above its root": _zip(lambda data: data, "../../etc/passwd"),
        "a zip of an unknown method": _zip(lambda data: data.replace(b"\x08\0", b"\x63\0")),
        "a zip that is a bomb": _bomb,
        "a zip of a zip that is not there": lambda _: "zip://a.png::zip://b.zip::c.zip",
    }
    for name, make in places.items():
        for modality in ("image", "audio", "video", "vector"):
            yield Cell(f"{name} as {modality}", modality, make)
    vectors = {
        "an array of objects": _pickled,
        "an array of 10^12": lambda f: _file(
            f / "a.npy", _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10**12,), }\n")
        ),
        "an array of a trillion": lambda f: _file(
            f / "a.npy", _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n")
        ),
        "an array below zero": lambda f: _file(
            f / "a.npy", _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }\n")
        ),
        "an array of code": lambda f: _file(f / "a.npy", _npy("{'descr': __import__('os').getpid(), 'shape': ()}\n")),
        "an array of nesting": lambda f: _file(f / "a.npy", _npy("(" * 9000 + ")" * 9000)),
        "an array of 40 dimensions": lambda f: _file(
            f / "a.npy", _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "1, " * 80 + "), }\n")
        ),
        "an array of times": lambda f: _file(
            f / "a.npy", _npy("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (3,), }\n")
        ),
        "several arrays": lambda f: (np.savez(f / "a.npz", a=np.ones(3)), "a.npz")[1],
        "an array cut": lambda f: _file(f / "a.npy", b"\x93NUMPY\1"),
    }
    for name, make in vectors.items():
        yield Cell(name, "vector", make)


def _addresses(base: str) -> Iterator[Cell]:
    for name in server.NAMES:
        yield Cell(f"a server: {name}", "image", lambda _, name=name: f"{base}/{name}.png")  # type: ignore[misc]


def cells(base: str) -> list[Cell]:
    """All of them; `base` is where the server of `tests.faults.server` is."""
    media_files = (("image", media.pictures()), ("audio", media.sounds()), ("video", media.clips()))
    found = [cell for modality, files in media_files for cell in _named(modality, files)]
    return [*found, *_texts(), *_places(), *_addresses(base)]


def good(folder: Path) -> dict[str, tuple[str, ...]]:
    """Cells of each kind that are read, their files under a folder."""
    return {
        **GOOD,
        "image": (_file(folder / "good.png", media.picture("PNG")),) * 3,
        "audio": (_file(folder / "good.wav", media.sound("WAV")),) * 3,
        "video": (_file(folder / "good.mp4", media.clip("mp4", "mpeg4")),) * 3,
    }


def read(cell: Cell, folder: Path, usual: tuple[str, ...]) -> str:
    """What is wrong with how one cell is read; empty where nothing is. `folder` holds what the usual cells name."""
    modality: Any = registry.load("modalities", cell.modality)
    config = registry.config_class("modalities", cell.modality)()
    hostile = cell.make(folder)
    root = str(folder)
    plain = resolved(usual, root, modality)
    blank = modality.fit(config, iter(plain))
    wanted = blank.transform(plain[:1])
    before = _begin()
    paths = resolved([usual[0], hostile], root, modality)
    file_stamps([usual[0], hostile], paths, modality)
    made = blank.transform(paths)
    found = _limits(cell, before, "transform")
    before = _begin()
    modality.sniff([usual[0], hostile, hostile], root)
    fitted = modality.fit(config, iter([*paths, *plain]))
    found += _limits(cell, before, "fit")
    if not _same(made.column, wanted.column):
        found.append("the good cell beside it is read otherwise")
    if not _finite(fitted.transform(plain[:1]).column) or not _finite(made.column):
        found.append("it leaves values that are not finite")
    said = [reject.reason for reject in made.rejects if reject.position == 1]
    present = bool(made.column.present[1])
    if present == bool(said) and not (not present and made.remarks):
        found.append(f"present: {present}, rejected: {said}")
    if any(not reason.strip() or "bug" in reason or "\n" in reason or len(reason) > 400 for reason in said):
        found.append(f"its reason is no sentence: {said}")
    if os.environ.get("MMCLI_DEBUG"):
        say(f"{cell.modality}: {cell.name}: {said or 'read'}")
    return "; ".join(found)


def _same(column: Any, wanted: Any) -> bool:
    own = column.select(torch.tensor([0]))
    return bool(torch.equal(torch.nan_to_num(own.values), torch.nan_to_num(wanted.values)) and own.present[0])


def _finite(column: Any) -> bool:
    """Whether the values of present rows are numbers; of fields those that are absent are not."""
    values = column.values.float() if column.offsets is not None else column.values[column.present].float()
    return bool(values.isfinite().all())


def _begin() -> tuple[float, float, float]:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return *_seconds(), _peak()


def _seconds() -> tuple[float, float]:
    import time

    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, time.monotonic()


def _peak() -> float:
    """MiB at the most since `_begin`."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def _limits(cell: Cell, before: tuple[float, float, float], what: str) -> list[str]:
    computed, passed = (now - then for now, then in zip(_seconds(), before[:2], strict=True))
    taken = _peak() - before[2]
    if os.environ.get("MMCLI_DEBUG"):
        say(f"  {what}: {computed:.2f} s, {taken:.0f} MiB")
    found = [f"{what} computed for {computed:.1f} s"] if computed > SECONDS else []
    most = 4 * addresses.timeout_s() + SECONDS
    found += [f"{what} took {passed:.1f} s"] if cell.name.startswith("a server") and passed > most else []
    return found + ([f"{what} took {taken:.0f} MiB"] if taken > MEBIBYTES else [])


def trouble(cell: Cell, folder: Path, usual: tuple[str, ...]) -> str:
    """What is wrong with how one cell is read, in a process of its own; empty where nothing is."""
    ours, theirs = os.pipe()
    process = os.fork()
    if not process:
        try:
            os.close(ours)
            signal.alarm(20 * STALLED_S)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (STALLED_S, STALLED_S))
            try:
                said = read(cell, folder, usual)
            except BaseException as error:
                said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            os.write(theirs, said[:4000].encode("utf-8", "replace"))
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    if code and not said:
        stalled = code in {-signal.SIGALRM, -signal.SIGXCPU, -signal.SIGKILL}
        return "it stalled" if stalled else f"it ended the process ({code})"
    return said


def run(count: int, only: str = "", timeout_s: float = 10.0) -> tuple[int, list[str]]:
    """Reads so many cells, spread over all; gives how many, and what is wrong."""
    torch.set_num_threads(1)
    addresses.wait(timeout_s)
    wrong, done = [], 0
    with server.serving(media.picture("PNG")) as base, tempfile.TemporaryDirectory() as start:
        usual = good(Path(start))
        every = [cell for cell in cells(base) if only in f"{cell.modality} {cell.name}"]
        chosen = every if count >= len(every) else [every[place * len(every) // count] for place in range(count)]
        for cell in chosen:
            with tempfile.TemporaryDirectory() as place:
                for file in Path(start).iterdir():
                    (Path(place) / file.name).write_bytes(file.read_bytes())
                said = trouble(cell, Path(place), usual[cell.modality])
            done += 1
            if said:
                wrong.append(f"{cell.modality}: {cell.name}: {said}")
                say(wrong[-1])
    return done, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=LARGE)
    parser.add_argument("--only", default="", help="those whose kind and name hold this")
    parser.add_argument("--fetch-timeout", type=float, default=2.0)
    asked = parser.parse_args()
    done, wrong = run(asked.count, asked.only, asked.fetch_timeout)
    say(f"{done} hostile cells: {len(wrong)} wrong")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(bool(main()))
