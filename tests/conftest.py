"""Tables small enough to train on in seconds, and one chain that the tests of later stages share."""

from __future__ import annotations

import atexit
import csv
import gc
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pytest
from filelock import FileLock

from mmcli.checks.examples import draw, write_clip, write_wave

__all__ = ["draw", "run", "shared", "write_clip", "write_csv", "write_wave"]

os.environ.setdefault("COLUMNS", "120")
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):  # else each of the hundred processes of a run compiles the package anew
    sys.dont_write_bytecode = False
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers are the parallelism
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MMCLI_THREADS", "1")


def _own_folder() -> Path:
    """Of this process, which removes it as it ends; its forks do not."""
    folder, process = Path(tempfile.mkdtemp(prefix="mmcli-tests-")), os.getpid()
    atexit.register(lambda: os.getpid() == process and shutil.rmtree(folder, ignore_errors=True))
    return folder


_OWN = _own_folder()
(_OWN / "cache").mkdir()
os.environ["MMCLI_CACHE"] = str(_OWN / "cache")  # choices of how to compute are not those of the user's machine
ROOT = Path(__file__).parent.parent
_FILE = _OWN / "small.toml"
_FILE.write_text("""
encoder.cnn = { width = 4, stages = 2 }
encoder.bag = { buckets = 512, dim = 16 }
encoder.rnn = { hidden = 8, embedding = 8 }
""")
ENCODERS = ("--config", str(_FILE))
"""Options that make every encoder tiny, in a file, which may name encoders that are not used."""
SMALL = (
    *ENCODERS,
    "--set=train-encoder.training.epochs=4",
    "--set=fuse.training.epochs=20",
    "--set=optimize.training.epochs=2",
)
"""Options that make every model tiny."""
CHAIN = ("--preset", "best", "--folds", "none", "--method", "gated", "--seeds", "2", "--trials", "3", *SMALL)
"""Options of `run` that the chain of `chain` was made with."""

WORDS = {"round": ["apple", "ball", "苹果", "球"], "square": ["box", "window", "箱子", "窗户"]}
MANNERS = ["a", "the", "my", "one", "some", "this", "that", "any", "no", "each", "这个", "那个"]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays to the end: nobody looks through it for garbage, which would take a third of the collection."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, in every process, so that none works on alone at the end: each is given a stretch of the
    list to begin with."""
    long = ("test_pipeline", "test_faults")
    items.sort(key=lambda item: (not any(name in item.nodeid for name in long), item.get_closest_marker("slow") is None))
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = [item for first in range(processes) for item in items[first::processes]]


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that is made once in a run of the tests, by the first process that wants it; the others wait for it."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = base / f"shared-{name}"
    with FileLock(base / f"{name}.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 rows: a picture of a shape in a colour, a word for the shape; the label joins the two. Tests must not change it."""
    return shared(tmp_path_factory, "table", _draw_table) / "data.csv"


def _draw_table(folder: Path) -> None:
    draw_from = random.Random(0)
    rows = []
    (folder / "pictures").mkdir()
    for number in range(60):
        shape, colour = ("round", "square")[number % 2], ("red", "blue")[number // 2 % 2]
        name = f"pictures/{number}.png"
        draw("round", colour).save(folder / name)
        split = ("train", "train", "train", "val", "test")[number // 4 % 5]
        rows.append(
            [f"r{number}", name, f"{draw_from.choice(MANNERS)} {draw_from.choice(WORDS[shape])}", split, f"{colour} {shape}"]
        )
    write_csv(folder / "data.csv", ["id", "picture", "word", "split", "label"], rows)


@pytest.fixture(scope="session")
def preprocessed(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts root of the table alone, as `chain` begins. Tests must not change it."""
    return shared(tmp_path_factory, "preprocessed", lambda folder: _mmcli("preprocess", table, folder)) / "artifacts"


@pytest.fixture(scope="session")
def chain(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts root of a whole chain over `table`, tiny. Tests must not change it: all processes share it."""
    return shared(tmp_path_factory, "chain", lambda folder: _mmcli("run", table, folder, *CHAIN)) / "artifacts"


def run(*arguments: object) -> tuple[int, str]:
    """The exit code of a command in this process, and what it said, in one line."""
    from typer.testing import CliRunner

    from mmcli.cli import app

    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


def _mmcli(command: str, table: Path, folder: Path, *options: str) -> None:
    from typer.testing import CliRunner

    from mmcli.cli import app

    arguments = [command, str(table), "--artifacts", str(folder / "artifacts"), "--image-size", "16", *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
