"""An exported folder stands alone: run.py predicts a table as mmcli predict does, without mmcli and torch."""

from __future__ import annotations

import csv
import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mmcli.cli import app
from mmcli.errors import ExitCode
from mmcli.exports.damage import REMEDY
from tests.conftest import ENCODERS, ROOT, shared, write_csv

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

ALONE = """
import runpy, sys
from importlib.abc import MetaPathFinder

class Refused(MetaPathFinder):
    names = {"mmcli", "torch", "torchvision", "pandas", "scipy", "simplejpeg", "safetensors", "sklearn", "pydantic", "fsspec"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{name} is not to be had")

sys.meta_path.insert(0, Refused())
sys.path.insert(0, sys.argv[1])
sys.argv = [sys.argv[1] + "/run.py", *sys.argv[2:]]
"""
ONE = ("--threads", "1")
ONCE = 'runpy.run_path(sys.argv[0], run_name="__main__")'
EACH = """
import json, os, tempfile

told, console = [], os.dup(1)
for line in json.loads(sys.argv.pop()):
    sys.argv[1:], code, files = line, 0, [tempfile.TemporaryFile() for _ in range(2)]
    for number, file in enumerate(files, 1):
        os.dup2(file.fileno(), number)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as ended:
        code = ended.code
    for stream, file in zip((sys.stdout, sys.stderr), files):
        stream.flush()
        file.seek(0)
    told.append([code, *(file.read().decode("utf-8") for file in files)])
os.dup2(console, 1)
print(json.dumps(told))
"""


def invoke(*arguments: str | Path) -> str:
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == ExitCode.DONE, result.output
    return " ".join(result.output.split())


def run_alone(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs run.py as if only what its README names were installed, on one thread: those of ONNX Runtime spin as they wait."""
    return _alone(ONCE, folder, *arguments, *ONE)


def each_alone(folder: Path, lines: Sequence[Sequence[str | Path]]) -> list[subprocess.CompletedProcess[str]]:
    """The same for several lines of arguments in one process, which begins once."""
    told = _alone(EACH, folder, json.dumps([[str(own) for own in (*line, *ONE)] for line in lines]))
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    return [subprocess.CompletedProcess([*line], *own) for line, own in zip(lines, found, strict=True)]


def _alone(how: str, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ALONE + how, folder, *arguments]
    return subprocess.run([str(own) for own in command], capture_output=True, text=True, encoding="utf-8", check=False)


def records(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def check_same(found: Path, wanted: Path, near: float = 1e-4) -> None:
    """The same columns, rows and answers; probabilities and numbers up to what float32 leaves."""
    ours, theirs = records(found), records(wanted)
    assert list(ours[0]) == list(theirs[0])
    assert len(ours) == len(theirs)
    for own, right in zip(ours, theirs, strict=True):
        for column, cell in own.items():
            if column.partition("_predicted")[1] and right[column] != cell:
                assert abs(float(cell) - float(right[column])) <= near * max(1.0, abs(float(right[column]))), column
            else:
                assert cell == right[column]


NARROW = {
    "cnn-rnn": ("--set=encoder.cnn-rnn.width=4", "--set=encoder.cnn-rnn.stages=2", "--set=encoder.cnn-rnn.hidden=8"),
    "crnn": ("--set=encoder.crnn.width=4", "--set=encoder.crnn.hidden=8"),
    "mlp": ("--set=encoder.mlp.members=2",),
}
"""Options of encoders whose defaults are slow to train, or to put in a graph."""


def trained(table: Path, root: Path, inputs: Sequence[str], *options: str) -> None:
    """A tiny fused model of the table."""
    invoke("preprocess", table, "-a", root, *options)
    for name in inputs:
        column, _, architecture = name.partition("=")
        tiny = (*ENCODERS, *NARROW.get(architecture, ()), "--set=training.epochs=1")
        invoke("train-encoder", column, "--arch", architecture, "-a", root, *tiny)
    chosen = [part for name in inputs for part in ("--encoder", name)]
    invoke("fuse", "--method", "gated", "--seeds", "1", *chosen, "-a", root, "--set=training.epochs=5")


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The artifacts root of the sample table, and its export."""
    folder = shared(tmp_path_factory, "sample", _sample)
    return folder / "artifacts", folder / "exported"


def _sample(folder: Path) -> None:
    root = folder / "artifacts"
    inputs = ("photo=cnn", "clip=cnn-rnn", "sound=crnn", "note=bag", "tabular=mlp", "probe=mlp")
    options = ("--target", "action", "--image-size", "32", "--frames", "4")
    trained(ROOT / "sample_data" / "data.csv", root, inputs, *options)
    invoke("export", "-a", root, "--to", folder / "exported")


def test_the_sample_table(sample: tuple[Path, Path], tmp_path: Path) -> None:
    root, exported = sample
    table = ROOT / "sample_data" / "data.csv"
    done = _alone(ONCE, exported, table, "--output", tmp_path / "found.csv")
    assert done.returncode == 0, done.stderr
    invoke("predict", table, "-a", root, "-o", tmp_path / "wanted.csv", "--precision", "float32")
    check_same(tmp_path / "found.csv", tmp_path / "wanted.csv")
    told = [
        f"row {r['row']}, column {r['column']!r}, {r['path']!r}: {r['reason']}"
        for r in records(tmp_path / "wanted.rejects.csv")
    ]
    assert len(told) == 2
    assert done.stderr.splitlines()[:2] == told


def test_an_odd_table(sample: tuple[Path, Path], tmp_path: Path) -> None:
    """Columns in another order, one of them not there; cells that cannot be read, or were never seen; another folder of media,
    another delimiter; what is written goes to standard output."""
    root, exported = sample
    rows = records(ROOT / "sample_data" / "data.csv")[:70]
    for number, row in enumerate(rows):
        row["reading"] = ["1,234.5", "12%", "n/a", "", "１２"][number % 5]
        row["when"] = ["2025-04-25", "soon", " "][number % 3]
        row["crew"] = ["Kelvin", "nobody", ""][number % 3]
        row["photo"] = [row["photo"], "gone.png", "", row["sound"]][number % 4]
        row["probe"] = [row["probe"], "[1, 2]", "words"][number % 3]
        row["note"] = ["", "电池, 在棚子里", 'a "quoted"\nline; two', "x" * 3000][number % 4]
    rows[0]["另"], rows[1]["另"] = "=1+1", "-inf"
    columns = ["note", "when", "probe", "photo", "crew", "reading", "sound", "另"]
    table = tmp_path / "odd.csv"
    with table.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=";").writerows([columns, *([row.get(name, "ü") for name in columns] for row in rows)])
    media = ROOT / "sample_data"
    done = run_alone(exported, table, "--media-root", media)
    assert done.returncode == 0, done.stderr
    (tmp_path / "found.csv").write_text(done.stdout.replace("\r\n", "\n"), encoding="utf-8")
    options = ("--media-root", media, "--precision", "float32")
    invoke("predict", table, "--allow-missing", "-a", root, "-o", tmp_path / "wanted.csv", *options)
    with (tmp_path / "found.csv").open(encoding="utf-8", newline="") as file:
        write_csv(tmp_path / "commas.csv", *(lambda every: (every[0], every[1:]))(list(csv.reader(file, delimiter=";"))))
    check_same(tmp_path / "commas.csv", tmp_path / "wanted.csv")
    lines = done.stderr.splitlines()
    assert lines[0].endswith("odd.csv lacks the column clip: absent in every row")
    told = [
        f"row {r['row']}, column {r['column']!r}, {r['path']!r}: {r['reason']}"
        for r in records(tmp_path / "wanted.rejects.csv")
    ]
    assert sorted(told) == sorted(line for line in lines if line.startswith("row "))
    assert f"{len(told):,} cells could not be read and count as absent" in lines
    assert "column 'note': 17 cells cut to 256 tokens" in lines
    assert [row["另"] for row in records(tmp_path / "commas.csv")[:3]] == ["'=1+1", "-inf", "ü"]
    assert any(line.startswith("1 cell of standard output that a spreadsheet would run") for line in lines)
    assert any(line.startswith("column 'crew': ") for line in lines)


def test_help_and_what_cannot_be_run(sample: tuple[Path, Path], tmp_path: Path) -> None:
    _, exported = sample
    shown = run_alone(exported, "--help").stdout
    assert all(flag in shown for flag in ("--output", "--media-root", "--encoding", "--delimiter", "--raw", "table"))
    other = write_csv(tmp_path / "t.csv", ["a", "b"], [["1", "2"]])
    wrong = {
        "none of the model's inputs": [other],
        "there is no such file": [tmp_path / "gone.csv"],
        "has a header but no rows": [write_csv(tmp_path / "e.csv", ["note"], [])],
        "is the table itself": [other, "-o", other],
    }
    other.write_text("note,b\n1,2\n")
    wrong["has 3 fields"] = [
        write_csv(tmp_path / "w.csv", ["note", "b"], [["1", "2"], ["1", "2", "3"]]),
        "-o",
        tmp_path / "o.csv",
    ]
    wrong["none of the model's inputs"] = [write_csv(tmp_path / "n.csv", ["a", "b"], [["1", "2"]])]
    for said, done in zip(wrong, each_alone(exported, list(wrong.values())), strict=True):
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith("error: ") or done.stderr.splitlines()[-1].startswith("error: ")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*o.csv*"))


def test_the_readme_names_what_is_imported_and_nothing_else(sample: tuple[Path, Path]) -> None:
    _, exported = sample
    lines = (exported / "README.md").read_text(encoding="utf-8").splitlines()
    assert "    pip install av numpy onnxruntime pillow soundfile tokenizers" in lines
    assert "    python run.py TABLE.csv -o predictions.csv" in lines
    assert any("photo, clip, sound, note, reading, crew, when, probe" in line for line in lines)
    about = json.loads((exported / "model.json").read_text(encoding="utf-8"))
    assert about["encoders"]["note"]["pieces"] == "tokenizers/2.pieces.json"


TARGETS = {
    "onnx": (lambda i: str(round(3.5 * i - 40, 1)), ()),
    "onnx-int8": (lambda i: "|".join(n for n, d in (("odd", 2), ("third", 3)) if i % d), ("--label-separator", "|")),
}


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Format -> a folder with a table of texts and numbers, of which numbers or labels are learnt: `data.csv` and `a`; the
    model in that format is in `deep/er`."""
    return lambda form: shared(tmp_path_factory, f"small-{form}", functools.partial(_small, form))


def _small(form: str, folder: Path) -> None:
    cell, options = TARGETS[form]
    rows = [[f"word{i % 7} 字{i % 5}", str(i * 0.5), cell(i)] for i in range(80)]
    table = write_csv(folder / "data.csv", ["text", "size", "y"], rows)
    trained(table, folder / "a", ("text=bag", "text=rnn", "size=mlp"), "--target", "y", *options)
    invoke("export", "-a", folder / "a", "--format", form, "--to", folder / "deep" / "er")


@pytest.mark.parametrize("form", TARGETS)
def test_other_tasks_and_only_what_they_read(form: str, small: Callable[[str], Path], tmp_path: Path) -> None:
    folder = small(form)
    table, exported = folder / "data.csv", folder / "deep" / "er"
    assert not {"images.py", "sounds.py", "clips.py", "pictures.py"} & {p.name for p in (exported / "preprocessing").iterdir()}
    readme = (exported / "README.md").read_text(encoding="utf-8")
    assert "    pip install numpy onnxruntime tokenizers\n" in readme
    done = run_alone(exported, table, "-o", tmp_path / "found.csv")
    assert done.returncode == 0, done.stderr
    invoke("predict", table, "-a", folder / "a", "-o", tmp_path / "wanted.csv", "--precision", "float32")
    if form == "onnx":
        check_same(tmp_path / "found.csv", tmp_path / "wanted.csv")
        return
    found, wanted = records(tmp_path / "found.csv"), records(tmp_path / "wanted.csv")
    for own, right in zip(found, wanted, strict=True):
        assert abs(float(own["y_predicted_probability_odd"]) - float(right["y_predicted_probability_odd"])) < 0.1


NAME, PARSED = "tokenizers/1.json", "Protobuf parsing failed"


@pytest.mark.parametrize(
    ("file", "kept", "tells"),
    [
        ("model.onnx", 0.5, f" is damaged ({PARSED})"),
        ("model.onnx", 0.999, f" is damaged ({PARSED})"),
        ("model.onnx", None, " is missing"),
        ("model.json", b'{"file": ', " is damaged (Expecting value"),
        ("model.json", b"{}", " is damaged (it lacks 'file')"),
        ("model.json", None, " is missing"),
        (NAME, 0.5, " is damaged (EOF while parsing"),
        (NAME, None, " is missing"),
        ("tokenizers/2.pieces.json", b'["a", ', " is damaged (Expecting value"),
        ("example.safetensors", 0.5, " is damaged ("),
        ("example.safetensors", None, " is missing"),
        ("preprocessing/command.py", None, " is missing"),
        ("preprocessing/graph.py", b"", " is not as it was exported"),
        ("preprocessing/texts.py", None, " is missing"),
        ("preprocessing/texts.py", 0.5, " is not as it was exported"),
        ("preprocessing/texts.py", b"Texts", " is not as it was exported"),
        ("preprocessing/hits.py", b"", " is not as it was exported"),
        ("preprocessing/batches.py", b"", " is not as it was exported"),
    ],
)
def test_a_damaged_folder_is_told_in_one_line(
    file: str, kept: float | bytes | None, tells: str, small: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, table = tmp_path / "x", small("onnx") / "data.csv"
    shutil.copytree(small("onnx") / "deep" / "er", folder, ignore=shutil.ignore_patterns("__pycache__"))
    data = (folder / file).read_bytes()
    (folder / file).unlink()
    if kept is not None:
        (folder / file).write_bytes(kept if isinstance(kept, bytes) else data[: int(len(data) * kept)])
    done = run_alone(folder, *([] if file == "example.safetensors" else [table]))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert f"{folder / file}{tells}" in line
    assert line.endswith(f": {REMEDY}")


def test_a_refusal_leaves_nothing_and_another_format_takes_the_place(small: Callable[[str], Path], tmp_path: Path) -> None:
    from typer.testing import CliRunner

    folder = small("onnx-int8")
    to = tmp_path / "deep" / "er"
    arguments = ["export", "-a", str(folder / "a"), "--to", str(to), "--format"]
    result = CliRunner().invoke(app, [*arguments, "torch-export"])
    assert result.exit_code == ExitCode.USAGE
    assert list(tmp_path.iterdir()) == []
    shutil.copytree(folder / "deep", tmp_path / "deep")
    (to / "mine.txt").write_text("kept")
    result = CliRunner().invoke(app, [*arguments, "torch-export"])
    assert result.exit_code == ExitCode.USAGE
    assert {"model.onnx", "run.py", "mine.txt"} <= {path.name for path in to.iterdir()}
    invoke(*arguments, "safetensors")
    names = {path.name for path in to.iterdir()}
    assert names == {"README.md", "example.safetensors", "mine.txt", "model.json", "model.safetensors"}
    assert "build the layers that `network`" in (to / "README.md").read_text(encoding="utf-8")


def test_the_export_of_another_model_is_kept_unless_forced(small: Callable[[str], Path], tmp_path: Path) -> None:
    """The same model again takes the place of its export, and what was made there before; another's is refused."""
    from typer.testing import CliRunner

    of_numbers, of_labels = small("onnx"), small("onnx-int8")
    to = tmp_path / "exported"
    shutil.copytree(of_numbers / "deep" / "er", to)
    arguments = ["export", "--to", str(to), "--format", "safetensors", "-a"]
    before = {path.name: path.read_bytes() for path in to.iterdir() if path.is_file()}
    for more in ([], ["--dry-run"]):
        result = CliRunner().invoke(app, [*arguments, str(of_labels / "a"), *more])
        assert result.exit_code == ExitCode.USAGE
        said = " ".join(result.output.split())
        assert f"--to {to} holds an export of another model, of the target 'y', which was not made in {of_labels / 'a'}" in said
        assert "choose another folder: --to DIR; or replace it: --force" in said
        assert {path.name: path.read_bytes() for path in to.iterdir() if path.is_file()} == before
    assert f"{to} held an export of this model: replaced" in invoke(*arguments, of_numbers / "a")
    described = json.loads((to / "model.json").read_text(encoding="utf-8"))
    (first, *_) = (json.loads(line) for line in (of_numbers / "a" / "history.jsonl").read_text(encoding="utf-8").splitlines())
    (to / "model.json").write_text(json.dumps({**described, "model": first["hash"]}), encoding="utf-8")
    told = invoke(*arguments, of_numbers / "a")
    assert f"{to} held an export of a model that was made in {of_numbers / 'a'} before, {first['name']}: replaced" in told
    assert "held an export of another model, of the target 'y': replaced" in invoke(*arguments, of_labels / "a", "--force")
    (to / "model.json").write_text("{")
    result = CliRunner().invoke(app, [*arguments, str(of_labels / "a")])
    assert result.exit_code == ExitCode.USAGE
    assert "holds an export that cannot be understood (model.json)" in " ".join(result.output.split())


@pytest.mark.parametrize(("name", "typed"), [("my dir", "'my dir/{}'"), ("模型", "'模型/{}'"), ("plain", "plain/{}")])
def test_the_next_step_can_be_pasted(
    name: str, typed: str, small: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = invoke("export", "-a", small("onnx") / "a", "--format", "safetensors", "--to", name)
    assert said.endswith(f"next: read {typed.format('README.md')}")
    said = invoke("predict", small("onnx") / "data.csv", "-a", small("onnx") / "a", "-o", f"{name}/p.csv")
    assert said.endswith(f"next: look at {typed.format('p.csv')}")
