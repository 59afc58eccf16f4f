"""What a task says of its targets decides what preprocess asks of a table."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from mmcli import registry
from mmcli.cli import app
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.data.plan import plan
from mmcli.errors import DataError, ExitCode
from mmcli.options.columns import Roles
from mmcli.options.preprocess import Options
from tests.conftest import write_csv

ALONE = """
    "Rows whose columns belong together: there is nothing to predict."
    from mmcli.config import Config as BaseConfig
    from tests.tasks.toys import Recognising


    class Config(BaseConfig):
        "Nothing."


    class Alone(Recognising):
        needs_target = False

        @classmethod
        def strata(cls, config, cells):
            return [""] * len(cells)

        def encode(self, cells):
            import torch
            return torch.zeros(len(cells), 0)

        def summary(self):
            return "columns that belong together"
"""
NEW = """
    "Classes, some of which only val or test have."
    from mmcli.tasks.classification import Classification, Config as BaseConfig


    class Config(BaseConfig):
        "As of classes."


    class Identities(Classification):
        new_classes_after_train = True

        def admitting(self, cells):
            more = sorted({name for (name,) in cells} - set(self.classes))
            return type(self)(self.config, [*self.classes, *more], [*self.counts, *[0] * len(more)])
"""


@pytest.fixture(autouse=True)
def _nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_trusted", {})


def preprocessed(folder: Path, code: str, *arguments: object) -> str:
    folder.mkdir(exist_ok=True)
    file = folder / "mine.py"
    file.write_text(textwrap.dedent(code).strip() + "\n", encoding="utf-8")
    words = [
        [f"word {n % 7} of {n % 5}", str(n * 37 % 101), ("train", "val", "test")[n // 20], f"p{n // 15}"] for n in range(60)
    ]
    table = write_csv(folder / "data.csv", ["note", "size", "split", "who"], words)
    found = CliRunner().invoke(app, [str(own) for own in ("preprocess", table, "--task", file, "-a", folder / "a", *arguments)])
    assert found.exit_code == ExitCode.DONE, found.output
    return " ".join(found.output.split())


def test_without_a_target_every_row_is_learnt_from_and_no_column_is_taken_for_one(tmp_path: Path) -> None:
    said = preprocessed(tmp_path, ALONE)
    assert "60 rows: 20 train, 20 val, 20 test; no target: columns that belong together" in said
    dataset = Dataset.open(tmp_path / "a")
    assert dataset.schema["targets"] == []
    assert {member for name in dataset.inputs for member in dataset.input(name).members} == {"note", "size", "who"}
    assert dataset.targets.shape == (60, 0)
    assert len(dataset.splits["train"]) == 20
    seen = CliRunner().invoke(app, ["inspect", str(tmp_path / "data.csv"), "--task", str(tmp_path / "mine.py")])
    assert seen.exit_code == ExitCode.DONE, seen.output
    assert "no target: columns that belong together" in " ".join(seen.output.split())


def test_classes_that_train_lacks_are_admitted_only_where_the_task_says_so(tmp_path: Path) -> None:
    preprocessed(tmp_path, NEW, "--target", "who")
    dataset = Dataset.open(tmp_path / "a")
    assert list(dataset.task.classes) == ["p0", "p1", "p2", "p3"]
    assert torch.equal(dataset.targets, torch.arange(60) // 15)
    with pytest.raises(AssertionError, match=r"row 31 \(val\)"):
        preprocessed(tmp_path / "again", NEW.replace("new_classes_after_train = True", ""), "--target", "who")


def test_splits_by_time_and_what_contradicts_them(tmp_path: Path) -> None:
    rows = [[f"2024-01-{day:02d}", "abc"[day % 3] * 4, "ab"[day % 2], f"g{day % 5}"] for day in range(1, 21)][::-1]
    table = write_csv(tmp_path / "t.csv", ["day", "note", "label", "who"], rows)
    root, asked = str(tmp_path / "a"), ["preprocess", str(table), "-t", "label", "--split-by-time", "day"]
    done = CliRunner().invoke(app, [*asked, "-a", root, "--ignore", "who", "--type", "note=text"])
    assert done.exit_code == 0, done.output
    assert "the last 3 rows are test, the 3 before them val; it is an input, too" in done.output
    found = Dataset.open(Path(root)).rows
    assert found["split"].tolist() == ["test"] * 3 + ["val"] * 3 + ["train"] * 14  # the table begins with the last day
    done = CliRunner().invoke(app, [*asked, "-a", root, "--group", "who"])
    assert done.exit_code == ExitCode.USAGE
    assert "--split-by-time day: the rows of a 'who' are to stay together" in " ".join(done.output.split())
    done = CliRunner().invoke(app, [*asked[:-1], "days", "-a", root])
    assert "--split-by-time days" in done.output
    assert "day" in done.output


@pytest.mark.parametrize("task", ["classification", "ordinal"])
def test_a_class_to_each_row_is_told_for_what_it_is(task: str, tmp_path: Path) -> None:
    rows = [[str(n % 7), f"{n}.5", f"name {n}"] for n in range(40)]
    asked = ["preprocess", str(write_csv(tmp_path / "t.csv", ["x", "price", "name"], rows)), "-a", str(tmp_path / "artifacts")]
    done = CliRunner().invoke(app, [*asked, "-t", "price", "--task", task])
    said = " ".join(done.output.split())
    assert (done.exit_code, "the target 'price' has 40 different values in 40 rows" in said) == (ExitCode.BAD_DATA, True)
    assert said.endswith("no row is left for val Numbers are for --task regression.")
    if task == "classification":
        said = " ".join(CliRunner().invoke(app, [*asked, "-t", "name", "--task", task]).output.split())
        assert said.endswith("Choose another --target, or give its classes more rows.")


def test_codes_that_are_read_as_numbers_are_told(tmp_path: Path) -> None:
    rows = [[f"{n * 977 % 99991:05d}", f"{n % 24:02d}", f"{n * 3}", f"{n * 37 % 991:06d}"] for n in range(1, 61)]
    table = write_csv(tmp_path / "t.csv", ["zip", "hour", "count", "code"], rows)
    done = CliRunner().invoke(app, ["preprocess", str(table), "-t", "code", "--dry-run"])
    said = " ".join(done.output.split())
    assert done.exit_code == ExitCode.DONE, done.output
    assert "column 'zip': cells are of 5 digits, some with zeros in front, e.g. '00977', as codes are, and read as" in said
    assert "target 'code': cells are of 6 digits, some with zeros in front, e.g. '000037'" in said
    assert said.count("zeros in front") == 2, "hours and plain numbers are none"
    done = CliRunner().invoke(
        app, ["preprocess", str(table), "-t", "code", "--task", "text", "--type", "zip=text", "--dry-run"]
    )
    assert (done.exit_code, "zeros in front" in done.output) == (ExitCode.DONE, False)


@pytest.mark.parametrize(
    ("cells", "task", "said"),
    [
        (["same"] * 40, None, "the target 'y' is 'same' in all 40 rows that have one: "),
        (["3.5"] * 38 + [""] * 2, None, "the target 'y' is '3.5' in all 38 rows that have one: "),
        (["3.5"] * 40, "regression", "the target 'y' is '3.5' in all 40 rows that have one: "),
        (["1"] * 40, "ordinal", "the target 'y' is '1' in all 40 rows that have one: "),
        (["a"] + [""] * 39, None, "only one row has a target 'y': "),
        (["a"] * 30 + ["b"] * 10, None, "the target 'y' has only the class 'a' in the train split; at least two are needed"),
    ],
)
def test_a_target_of_one_value_is_named_and_the_split_only_where_it_is_why(
    cells: list[str], task: str | None, said: str, tmp_path: Path
) -> None:
    splits = ["train"] * 30 + ["val"] * 5 + ["test"] * 5
    path = write_csv(tmp_path / "t.csv", ["x", "split", "y"], [[f"{i}.5", splits[i], cell] for i, cell in enumerate(cells)])
    with pytest.raises(DataError) as error:
        plan(path, Options(roles=Roles(task=task)), Settings(), 0)
    assert str(error.value).startswith(said)
    assert ("split" in str(error.value)) == ("train split" in said)


@pytest.mark.parametrize(
    ("form", "task", "said"),
    [
        ("2024-03-{:02d}", None, "holds dates, e.g. '2024-03-01', which are not predicted as such: each is a class of its own. "
         "To predict when, write numbers, e.g. days since the first; for classes, name those meant, e.g. the month"),
        ("3/{}/2024", None, "holds dates, e.g. '3/1/2024', which"),
        ("{:02d}:30", None, "holds times, e.g. '01:30', which are not predicted as such: each is a class of its own. "
         "To predict when, write numbers, e.g. minutes since midnight; for classes, name those meant, e.g. the hour"),
        ("202403{:02d}", None, ""),
        ("{0}-{0}9", None, ""),
        ("2024-03-{:02d}", "text", ""),
    ],
)  # fmt: skip
def test_dates_that_become_classes_are_told_once(form: str, task: str | None, said: str, tmp_path: Path) -> None:
    cells = ["unknown", *(form.format(row % 4 + 1) for row in range(39))]
    path = write_csv(tmp_path / "t.csv", ["x", "when"], [[f"{row * 7 % 40}.5", cell] for row, cell in enumerate(cells)])
    found = plan(path, Options(roles=Roles(task=task, target=("when",))), Settings(), 0)
    told = [line for line in found.warnings if "not predicted as such" in line]
    assert [line.startswith(f"target 'when' {said}") for line in told] == ([True] if said else [])
    assert task or found.task_name == "classification"


def test_splits_by_the_target_are_doubted(tmp_path: Path) -> None:
    rows = [[str(n * 13 % 17), f"{n}.5", f"{n * 7 % 40}.25"] for n in range(40)]
    asked = ["preprocess", str(write_csv(tmp_path / "t.csv", ["x", "when", "price"], rows)), "-t", "price", "--dry-run"]
    for column, doubted in (("when", False), ("price", True)):
        done = CliRunner().invoke(app, [*asked, "--split-by-time", column])
        said = " ".join(done.output.split())
        assert done.exit_code == ExitCode.DONE, done.output
        assert ("--split-by-time price is the target: all that val and test hold lies beyond" in said) == doubted


def test_another_tokenizer_under_the_same_name_is_another_table(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    rows = [[f"{word} number {n}", "ab"[n % 2]] for n, word in enumerate(["red", "green", "blue"] * 20)]
    table, root = write_csv(tmp_path / "t.csv", ["text", "y"], rows), tmp_path / "artifacts"
    file, said = tmp_path / "tokenizer.json", []
    for words in (["red", "green"], ["red", "blue"], ["red", "blue"]):
        vocabulary = {word: place for place, word in enumerate(["[UNK]", *words])}
        given = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        given.pre_tokenizer = pre_tokenizers.Whitespace()
        given.save(str(file))
        result = CliRunner().invoke(
            app, ["preprocess", str(table), "--type", "text=text", "--tokenizer", str(file), "-a", str(root)]
        )
        assert result.exit_code == ExitCode.DONE, result.output
        said.append("up to date" in result.output)
    assert said == [False, False, True]
