"""The sample table whose target is a text is what its script makes, and what docs/text.md says of it."""

from __future__ import annotations

import csv
import importlib.util
import random
import subprocess
import sys
import wave
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import shared

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "sample_data"
SCRIPT = SAMPLE / "make_texts.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the script ran."""

    def make(folder: Path) -> None:
        (folder / SCRIPT.name).write_bytes(SCRIPT.read_bytes())
        subprocess.run([sys.executable, folder / SCRIPT.name], check=True)

    return shared(tmp_path_factory, "sample-texts", make)


def rows() -> list[dict[str, str]]:
    with (SAMPLE / "texts.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_script_makes_the_table_that_is_here(made: Path) -> None:
    """The table and the sounds byte for byte; the pictures by their pixels, since PNG's bytes depend on the version of zlib."""
    assert (made / "texts.csv").read_bytes() == (SAMPLE / "texts.csv").read_bytes()
    for folder in ("spoken", "printed"):
        names = sorted(path.name for path in (made / folder).iterdir())
        assert names == sorted(path.name for path in (SAMPLE / folder).iterdir())
    for sound in (made / "spoken").iterdir():
        assert sound.read_bytes() == (SAMPLE / "spoken" / sound.name).read_bytes()
    for number in range(0, 340, 17):
        name = f"printed/{number:04d}.png"
        with Image.open(made / name) as one, Image.open(SAMPLE / name) as other:
            assert one.convert("RGB").tobytes() == other.convert("RGB").tobytes()


def test_the_table_has_the_rows_and_files_that_the_page_tells_of() -> None:
    table = rows()
    assert list(table[0]) == ["sound", "picture", "text", "split"]
    assert Counter(row["split"] for row in table) == {"train": 240, "val": 40, "test": 60}
    words = [row["text"].split() for row in table]
    assert {len(own) for own in words} == {2, 3, 4, 5}
    assert len({word for own in words for word in own}) == 10
    with wave.open(str(SAMPLE / table[0]["sound"])) as sound:
        assert (sound.getframerate(), sound.getnchannels()) == (8000, 1)
    with Image.open(SAMPLE / table[0]["picture"]) as picture:
        assert picture.size == (96, 24)
    files = [path for name in ("spoken", "printed") for path in (SAMPLE / name).iterdir()]
    assert len(files) == 2 * len(table)
    assert sum(path.stat().st_size for path in files) < 2_500_000


def test_each_column_lacks_a_third_of_the_words_and_both_together_few(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("make_texts", made / SCRIPT.name)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    drawn: list[list[str]] = []

    def picture(words: list[str], who: list[str], draw_from: random.Random) -> Image.Image:
        drawn.append(who)
        made_by_script: Image.Image = draw(words, who, draw_from)
        return made_by_script

    draw = script.picture
    monkeypatch.setattr(script, "picture", picture)
    script.main()
    test = Counter(own for row in drawn[-60:] for own in row)
    assert test.total() == 204
    assert test["picture"] + test["neither"] == 80  # drowned
    assert test["sound"] + test["neither"] == 57  # smudged
    assert test["neither"] == 4
    everywhere = Counter(own for row in drawn for own in row)
    assert everywhere["neither"] / everywhere.total() < 0.03
