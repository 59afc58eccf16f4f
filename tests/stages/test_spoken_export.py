"""A recogniser of sound, exported: run.py says when each word is said, as `mmcli predict --words` does."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mmcli.errors import ExitCode
from mmcli.tasks.text import Text
from mmcli.text.lattice import Search
from tests.conftest import shared, write_csv
from tests.stages.test_export import run_alone
from tests.stages.test_text import QUICK, bands, invoke

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow
RATE = 8000
TONES = {"red": 500, "green": 900, "blue": 1500, "black": 2500}
SEARCH = {
    "char": Search(5, 0.5, 3.0, slope=2.0, intercept=0.5, stranger=1.0),
    "word": Search(1, slope=2.0),
    "bpe": Search(4, 0.3, 4.0),
}


def whistled(words: list[str], path: Path, luck: random.Random) -> str:
    """A tone for each word, of its own length, with pauses."""
    parts = []
    for word in words:
        times = np.arange(int(RATE * luck.uniform(0.1, 0.2))) / RATE
        parts += [0.5 * np.sin(2 * np.pi * TONES[word] * times), np.zeros(int(RATE * luck.uniform(0.03, 0.1)))]
    soundfile.write(path, np.concatenate(parts), RATE)
    return path.name


def made(units: str, folder: Path) -> None:
    """A table of recordings and pictures, a model of both that is read off the sound, and its export."""
    luck, rows = random.Random(0), []
    for number in range(60):
        words = [luck.choice([*TONES]) for _ in range(luck.randint(1, 3))]
        sound = "" if number == 5 else whistled(words, folder / f"{number}.wav", luck)
        shown = bands([*words, *["white"] * 3][:3], 2, folder / f"{number}.png")
        split = "train" if number < 40 else "val" if number < 50 else "test"
        rows.append([sound, shown, " ".join(words), split])
    table, root = write_csv(folder / "data.csv", ["sound", "shown", "says", "split"], rows), folder / "artifacts"
    more = ["--target-vocab", "264"] if units == "bpe" else []
    steps = [
        ["preprocess", table, "-t", "says", "--task", "text", "--target-units", units, "--image-size", "32", *more],
        ["train-encoder", "sound", "--arch", "crnn", "--epochs", "16", *QUICK],
        ["train-encoder", "shown", "--arch", "crnn", "--epochs", "1", *QUICK],
        ["fuse", "--seeds", "1", "--epochs", "6", "--order", "sound"],
        ["export", "--to", folder / "exported"],
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "tuned", lambda *_, **__: SEARCH[units])
        for step in steps:
            code, _, said = invoke(*step, "-a", root)
            assert code == ExitCode.DONE, said


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Units -> the folder of such a table."""
    return lambda units: shared(tmp_path_factory, f"spoken-{units}", functools.partial(made, units))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("units", SEARCH)
def test_words_are_where_predict_has_them(units: str, spoken: Callable[[str], Path], tmp_path: Path) -> None:
    folder = spoken(units)
    table, found, wanted = folder / "data.csv", tmp_path / "found.json", tmp_path / "wanted.json"
    exact = ["-a", folder / "artifacts", "--precision", "float32"]
    code, _, said = invoke("predict", table, "-o", tmp_path / "w.csv", "--words", wanted, *exact)
    assert code == ExitCode.DONE, said
    done = run_alone(folder / "exported", table, "-o", tmp_path / "f.csv", "--words", found)
    assert done.returncode == 0, done.stderr
    remark = "1 row has no sound: words are read off another column there and have no times, the first: row 6"
    assert remark in done.stderr and remark in said
    ours, theirs = lines(found), lines(wanted)
    assert [own["row"] for own in ours] == list(range(1, 61))
    for own, right in zip(ours, theirs, strict=True):
        sure = [word.pop("confidence") for word in own["words"]]
        assert sure == pytest.approx([word.pop("confidence") for word in right["words"]], abs=1e-4)
        assert own == right
    ends = [word["end"] for number, own in enumerate(ours) for word in own["words"] if number != 5]
    assert len(ends) > 40 and max(ends) > 0.3  # it has learnt to read something


def test_subtitles_beams_and_what_cannot_be(spoken: Callable[[str], Path], tmp_path: Path) -> None:
    folder = spoken("char")
    table, exported, exact = folder / "data.csv", folder / "exported", ["-a", folder / "artifacts", "--precision", "float32"]
    one = write_csv(tmp_path / "one.csv", ["sound", "shown"], [[str(folder / "7.wav"), str(folder / "7.png")]])
    for name, source, more in (("all", table, ["--beam", "2"]), ("one.srt", one, ["--nbest", "2"])):
        done = run_alone(exported, source, "-o", tmp_path / "f.csv", "--words", tmp_path / "found" / name, *more)
        assert done.returncode == 0, done.stderr
        code, _, said = invoke(
            "predict", source, "-o", tmp_path / "w.csv", "--words", tmp_path / "wanted" / name, *exact, *more
        )
        assert code == ExitCode.DONE, said
    wanted = {p.relative_to(tmp_path / "wanted"): p.read_text() for p in (tmp_path / "wanted").rglob("*.srt")}
    assert {p.relative_to(tmp_path / "found"): p.read_text() for p in (tmp_path / "found").rglob("*.*")} == wanted
    assert len(wanted) == 61 and " --> " in wanted[Path("one.srt")]
    for arguments, said in (
        ([table, "--words", tmp_path / "w.srt"], "the table has more than one row, subtitles are of one recording: name a"),
        ([table, "--words", tmp_path / "w.txt"], "name a .json or .jsonl, an .srt for a table of one row, or a folder"),
        ([table, "--words", table], "name a .json or .jsonl"),
        ([table, "--words", tmp_path / "f.csv" / "x.json"], "f.csv"),
        (["--words", tmp_path / "w.json"], "--words is of a table: name one"),
        ([table, "--words", tmp_path / "w.json", "-o", tmp_path / "w.json"], "are both"),
    ):
        done = run_alone(exported, *arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        assert said in done.stderr.splitlines()[-1], done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: ")
    assert not list(tmp_path.glob(".*")) and not list(tmp_path.glob("w.[jst]*"))
    assert "--words words.json` writes besides when each word is said" in (exported / "README.md").read_text(encoding="utf-8")
    task = json.loads((exported / "model.json").read_text(encoding="utf-8"))["task"]
    assert task["words"] == {"lead": "sound", "stride": 2, "frame_s": pytest.approx(0.01), "each_letter": False}
