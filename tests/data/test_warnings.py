"""What inspect, preprocess and run say of a table before any work, and what they leave out."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from mmcli.cli import app
from mmcli.config.settings import Settings
from mmcli.data.leaks import Tells, named_after, same_order
from mmcli.data.plan import Plan, plan
from mmcli.errors import DataError
from mmcli.options.columns import Roles
from mmcli.options.preprocess import Options
from tests.conftest import write_csv


def planned(path: Path, **roles: object) -> Plan:
    return plan(path, Options(roles=Roles(**roles)), Settings(), 0)  # type: ignore[arg-type]


def table(tmp_path: Path, columns: dict[str, list[object]]) -> Path:
    rows = [[str(cell) for cell in row] for row in zip(*columns.values(), strict=True)]
    return write_csv(tmp_path / "t.csv", list(columns), rows)


N = 60
X = [f"{row * 0.77 % 5:.2f}" for row in range(N)]
LABEL = ["ab"[row * 7 % 11 % 2] for row in range(N)]
SPLIT = ["train" if row < 40 else "val" if row < 50 else "test" for row in range(N)]


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


# --- inputs that tell the target


@pytest.mark.parametrize(
    ("column", "target", "expected"),
    [
        ("label_id", "label", True),
        ("target_encoded", "target", True),
        ("targetEncoded", "target", True),
        ("log_price", "price", True),
        ("price_log", "price", True),
        ("label", "species", False),
        ("target_encoded", "species", True),
        ("species_predicted_probability", "species", True),
        ("label", "label", False),
        ("price_per_m2", "price", False),
        ("labelled_by", "label", False),
        ("age", "y", False),
        ("y_true", "y", True),
    ],
)
def test_names_after_the_target(column: str, target: str, expected: bool) -> None:
    assert named_after(column, target) is expected


def test_values_that_stand_with_one_target_each_tell_it() -> None:
    tells = Tells()
    tells.add([f"code {row % 6}" for row in range(60)], ["ab"[row % 2] for row in range(60)])
    assert tells.found
    assert tells.values == 6


def test_one_exception_or_values_that_do_not_repeat_or_luck_tell_nothing() -> None:
    exception, unique, luck = Tells(), Tells(), Tells()
    exception.add([f"{row % 6}" for row in range(60)], ["b" if row == 59 else "a" if row % 2 else "c" for row in range(60)])
    unique.add([str(row) for row in range(60)], LABEL)
    # Of a class that nearly all rows have, values agree by luck.
    luck.add([str(row // 2) for row in range(60)], ["rare" if row < 2 else "main" for row in range(60)])
    assert not any(tells.found for tells in (exception, unique, luck))


def test_the_target_on_another_scale() -> None:
    celsius = [f"{row * 37 % 61 / 2}" for row in range(60)]
    fahrenheit = [f"{float(cell) * 1.8 + 32:.1f}" for cell in celsius]
    assert same_order(fahrenheit, celsius)
    assert same_order([str(-float(cell)) for cell in celsius], celsius)
    assert not same_order([*fahrenheit[1:], fahrenheit[0]], celsius)


@pytest.mark.parametrize("command", ["inspect", "preprocess", "run"])
def test_every_command_warns_before_any_work(tmp_path: Path, command: str) -> None:
    codes = [f"code_{label}" for label in LABEL]
    path = table(tmp_path, {"x": X, "leak": codes, "label_code": X[::-1], "label": ["rare", *LABEL[1:]], "split": SPLIT})
    path.write_text(path.read_text().replace("test", "val"))
    extra = [] if command == "inspect" else ["-a", tmp_path / "art"]
    code, said = invoke(command, path, *extra, *(["--dry-run"] if command != "inspect" else []))
    assert "input 'leak' alone tells the target 'label'" not in said  # the first row has another class
    assert "input 'label_code' is named after the target 'label'" in said or command == "run"
    if command == "run":
        assert code == 3
        assert "is test: run would have nothing to show in the end" in said
    else:
        assert "column 'split' names no test rows" in said
        assert "1 class has fewer than 3 rows, e.g. 'rare'" in said


@pytest.mark.parametrize("command", ["inspect", "preprocess"])
def test_classes_of_which_val_or_test_has_few_rows_are_named(tmp_path: Path, command: str) -> None:
    label = ["ab"[row % 2] for row in range(N)]
    label[:6] = ["c", "c", "c", "d", "d", ""]  # train alone has c, and too few rows are d at all
    path = table(tmp_path, {"x": X, "label": label, "split": SPLIT})
    extra = ["-a", tmp_path / "art", "--dry-run"] if command == "preprocess" else []
    said = invoke(command, path, "--target", "label", *extra)[1]
    assert "target 'label': val has fewer than 5 rows of 1 of 4 classes ('c' 0); test has fewer than 5 rows of 1 of 4" in said
    assert "what is scored of these says little" in said and said.count("'d'") == 1


def test_enough_rows_of_each_class_are_no_warning(tmp_path: Path) -> None:
    label = ["ab"[row % 2] for row in range(N)]
    found = planned(table(tmp_path, {"x": X, "label": label, "split": SPLIT}))
    assert not any("fewer than 5" in said for said in found.warnings)


def test_numbers_that_are_not_finite_are_named_with_the_remedy_where_they_make_classes_of_a_target(tmp_path: Path) -> None:
    prices: list[object] = [f"{row * 1.3:.1f}" for row in range(12)]
    prices[3], prices[5], prices[7] = "1e400", "inf", "1e400"
    said = invoke("inspect", table(tmp_path, {"x": X[:12], "price": prices}))[1]
    assert "target 'price': 3 of 12 cells are not finite, e.g. '1e400', 'inf', the others numbers: it is taken for" in said
    assert "--task regression --na=1e400 --na=inf" in said
    words = invoke("inspect", table(tmp_path, {"x": X[:12], "price": ["inf", "a", "b"] * 4}))[1]
    assert "not finite" not in words, "inf is a word among others"


@pytest.mark.parametrize("command", ["inspect", "preprocess"])
def test_rows_with_no_labels_are_told_before_any_work(tmp_path: Path, command: str) -> None:
    path = tmp_path / "t.jsonl"
    tags = [None if row % 10 == 0 else ["a"] if row % 2 else ["a", "b"] for row in range(N)]
    path.write_text("".join(json.dumps({"x": float(x), "tags": own}) + "\n" for x, own in zip(X, tags, strict=True)))
    extra = ["-a", tmp_path / "art", "--dry-run"] if command == "preprocess" else []
    said = invoke(command, path, "--target", "tags", *extra)[1]
    assert said.count("6 rows have an empty 'tags': taken as having none of the labels") == 1


def test_columns_that_could_be_compared_are_named_by_the_hint(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {
        "left": [f"red fox {row}" for row in range(N)],
        "right": [f"a cat {row}" for row in range(N)],
    }
    path = table(tmp_path, {"size": X, **columns, "same": [row % 2 for row in range(N)]})
    code, said = invoke("inspect", path, "--task", "match", "--target", "same", "--type", "left=text", "--type", "right=text")
    assert code == 2 and "E.g. --share right=left. They must be of one kind." in said


def test_a_leak_is_warned_of_and_stays_an_input(tmp_path: Path) -> None:
    found = planned(table(tmp_path, {"x": X, "leak": [f"code_{label}" for label in LABEL], "label": LABEL}))
    assert any(line.startswith("input 'leak' alone tells the target 'label': each of its 2 values") for line in found.warnings)
    assert "leak" in [item.name for item in found.schema.columns]
    assert not any("'x'" in line for line in found.warnings)


def test_groups_that_leave_a_split_empty(tmp_path: Path) -> None:
    columns = {"x": X, "who": ["p" if row % 2 else "q" for row in range(N)], "label": LABEL}
    path = table(tmp_path, columns)
    found = plan(path, Options(roles=Roles(group="who"), val=0.3, test=0.05), Settings(), 0)
    assert any("no row is test (the groups of 'who' are too few" in line for line in found.warnings)
    with pytest.raises(DataError, match="there are no val rows among 60: the 2 groups of 'who' are too few"):
        plan(path, Options(roles=Roles(group="who"), val=0.05, test=0.3), Settings(), 0)


# --- columns without values


def test_columns_without_a_value_in_train_are_left_out(tmp_path: Path) -> None:
    def only(split: str, cells: list[str]) -> list[object]:
        return [cell if own == split else "" for cell, own in zip(cells, SPLIT, strict=True)]

    columns: dict[str, list[object]] = {
        "number": only("test", X),
        "text": only("val", [f"a note, the {row}th" for row in range(N)]),
        "na": ["NA" if own == "train" else cell for cell, own in zip(X, SPLIT, strict=True)],
        "same": ["1" if own == "train" else cell for cell, own in zip(X, SPLIT, strict=True)],
        "no_val": ["" if own == "val" else cell for cell, own in zip(X, SPLIT, strict=True)],
        "x": [*X],
        "split": [*SPLIT],
        "label": [*LABEL],
    }
    found = planned(table(tmp_path, columns))
    assert [item.name for item in found.schema.columns] == ["no_val", "x"]
    assert found.schema.inputs == {"tabular": ["no_val", "x"]}
    for name in ("number", "text", "na"):
        assert f"column {name!r} has no value in any train row: left out" in found.warnings
    assert "column 'same' is '1' in every train row: left out" in found.warnings
    assert "column 'no_val' has no value in any val row" in found.warnings


def test_nothing_left_to_learn_from(tmp_path: Path) -> None:
    cells = ["" if own == "train" else cell for cell, own in zip(X, SPLIT, strict=True)]
    with pytest.raises(DataError, match="no input has anything to learn from in train: 'x'"):
        planned(table(tmp_path, {"x": cells, "split": SPLIT, "label": LABEL}))


# --- missing words


def test_na_in_a_number_target_makes_no_classes(tmp_path: Path) -> None:
    target = ["NA" if row == 7 else "?" if row == 9 else str(3 + 0.41 * row) for row in range(N)]
    found = planned(table(tmp_path, {"x": X, "y": target}))
    assert found.task_name == "regression"
    assert found.counts["unlabelled"] == 2
    assert "target 'y': 1 cell with 'NA', which counts as missing (--keep-na to keep such words)" in found.notes
    kept = planned(table(tmp_path, {"x": X, "label": ["NA" if row % 3 == 0 else "ab"[row % 2] for row in range(N)]}))
    assert kept.task.classes == ["NA", "a", "b"]  # type: ignore[attr-defined]


def test_na_names_other_words_everywhere_and_keep_na_none(tmp_path: Path) -> None:
    cells = ["-999" if row % 5 == 0 else "NA" if row % 5 == 1 else x for row, x in enumerate(X)]
    label = ["unsure" if row % 10 == 3 else own for row, own in enumerate(LABEL)]
    path = table(tmp_path, {"x": cells, "z": X, "label": label})
    found = planned(path, na=("-999", "unsure"))
    assert "column 'x': 12 cells with '-999', which counts as missing (--na)" in found.notes
    assert "column 'x': 12 cells with 'NA', which counts as missing (--keep-na to keep such words)" in found.notes
    assert "column 'label': 6 cells with 'unsure', which counts as missing (--na)" in found.notes
    assert found.task.classes == ["a", "b"]  # type: ignore[attr-defined]
    assert found.counts["unlabelled"] == 6
    kept = planned(path, keep_na=True)
    assert {item.name: item.modality for item in kept.schema.columns}["x"] != "number"
    assert any("column 'x': 12 of 60 cells are no numbers, e.g. 'NA'" in line for line in kept.warnings)


def test_na_is_found_in_the_floats_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    cells = [-999.0 if row % 5 == 0 else float(x) for row, x in enumerate(X)]
    pd.DataFrame({"x": cells, "z": X, "label": LABEL}).to_parquet(path)
    assert "column 'x': 12 cells with '-999.0', which counts as missing (--na)" in planned(path, na=("-999",)).notes


# --- numbers


def test_nearly_numbers_are_a_warning_that_names_cells(tmp_path: Path) -> None:
    cells = ["about five" if row % 6 == 0 else x for row, x in enumerate(X)]
    found = planned(table(tmp_path, {"price": cells, "z": X, "label": LABEL}))
    assert any("column 'price': 10 of 60 cells are no numbers, e.g. 'about five'" in line for line in found.warnings)


def test_a_row_is_one_of_the_table_where_cells_are_missing(tmp_path: Path) -> None:
    cells = ["", "", *("about five" if row % 6 == 5 else x for row, x in enumerate(X[2:]))]
    found = planned(table(tmp_path, {"price": cells, "z": X, "label": LABEL}))
    said = next(line for line in found.warnings if "'price'" in line)
    assert "9 of 58 cells are no numbers, e.g. 'about five' (the first in row 8): it is taken for" in said


@pytest.mark.parametrize("word", ["inf", "-inf", "Infinity", "-INF"])
def test_infinite_cells_speak_not_against_numbers(tmp_path: Path, word: str) -> None:
    cells = ["", *(word if row % 3 == 1 else x for row, x in enumerate(X[1:]))]
    found = planned(table(tmp_path, {"price": cells, "z": X, "label": LABEL}))
    assert {item.name: item.modality for item in found.schema.columns} == {"price": "number", "z": "number"}
    said = [line for line in found.warnings if "'price'" in line]
    assert said == [
        f"column 'price': 20 of 59 cells are not finite, the first: row 3, {word!r}: unreadable (--na={word} for missing)"
    ]


def test_dates_in_several_formats_are_a_warning(tmp_path: Path) -> None:
    forms = ("%Y年%m月%d日", "%b %d, %Y", "%d/%m/%Y", "%Y-%m-%d")
    moments = [datetime(2020, 1, 1) + timedelta(37 * row) for row in range(N)]
    mixed = ["", *(moment.strftime(forms[row % 4]) for row, moment in enumerate(moments[1:]))]
    words = [cell if row % 3 == 1 else f"item {row} of 12-3" for row, cell in enumerate(mixed)]
    whole = [moment.strftime("%d/%m/%Y") for moment in moments]
    found = planned(table(tmp_path, {"mixed": mixed, "words": words, "whole": whole, "label": LABEL}))
    assert {item.name: item.modality for item in found.schema.columns} == {"mixed": "text", "words": "text", "whole": "date"}
    assert [line for line in found.warnings if "several formats" in line] == [
        "column 'mixed': dates in several formats, e.g. row 2 '2020年02月07日', row 4 '21/04/2020': taken for text; write them "
        "in one format"
    ]


def test_a_mistake_in_a_number_target_is_an_error_that_names_the_row(tmp_path: Path) -> None:
    target = ["oops" if row == 6 else str(row * 0.41) for row in range(N)]
    with pytest.raises(DataError, match=r"row 7: the target 'y' is 'oops', not a number\n.*--na oops"):
        planned(table(tmp_path, {"x": X, "y": target}))


def test_classes_under_task_regression_are_called_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the target 'label' holds classes, not numbers: 60 of 60 cells are none"):
        planned(table(tmp_path, {"x": X, "label": LABEL}), task="regression")


def test_a_column_that_proves_no_mark_goes_by_the_others(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = [f"{1 + row % 7},{row * 37 % 900 + 100:03d};{row},5;{label}" for row, label in enumerate(LABEL)]
    path.write_text("ratio;other;label\n" + "\n".join(lines))
    found = planned(path)
    assert found.modalities["ratio"].decimal == "comma"
    assert any(line.startswith("column 'ratio': ") and "as the rest of the table" in line for line in found.notes)
    grouped = planned(
        table(tmp_path, {"n": [f"{1 + row % 7},{row * 37 % 900 + 100:03d}" for row in range(N)], "x": X, "l": LABEL})
    )
    assert grouped.modalities["n"].decimal == "point"


def test_units_are_announced_and_several_are_a_warning(tmp_path: Path) -> None:
    one = [f"{x} kg" for x in X]
    two = [f"{x} {'kg' if row % 4 else 'lb'}" for row, x in enumerate(X)]
    found = planned(table(tmp_path, {"one": one, "two": two, "label": LABEL}))
    assert "column 'one': the unit 'kg' is left out" in found.notes
    assert any("column 'two': cells have several units (45 'kg', 15 'lb')" in line for line in found.warnings)


# --- what the fitted state remembers


def test_predict_reads_cells_as_preprocess_did(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{row // 2},{row % 2 * 5}00 kg;{'-999' if row % 9 == 1 else 'NA' if row % 9 == 2 else f'{row % 5},5'};{row * 3},25"
            for row in range(N)]  # fmt: skip
    path.write_text("w;z;y\n" + "\n".join(rows))
    art = tmp_path / "art"
    assert invoke("preprocess", path, "--na", "-999", "-a", art)[0] == 0
    state = json.loads((art / "preprocess/columns/w/modality.json").read_text())["state"]
    assert state["format"] == {"decimal": ",", "units": ["kg"], "letters": False, "shares": False}
    task = json.loads((art / "preprocess/task.json").read_text())
    assert task["task"] == "regression"
    assert task["state"]["formats"] == [{"decimal": ",", "units": [], "letters": False, "shares": False}]
    assert json.loads((art / "preprocess/schema.json").read_text())["na"] == ["-999", "-999.0"]
    tiny = ("--set", "training.epochs=1")
    assert invoke("train-encoder", "-a", art, "--arch", "mlp", *tiny)[0] == 0
    assert invoke("fuse", "-a", art, "--seeds", "1", *tiny)[0] == 0
    new = tmp_path / "new.csv"
    new.write_text("w;z\n12,500 kg;1,5\n12,500 kg;-999\n12,500 kg;NA\n12,500 kg;\n3 stone;1,5\n")
    code, said = invoke("predict", new, "-a", art, "-o", tmp_path / "p.jsonl")
    assert code == 0
    assert "column 'z': 1 cell with '-999', which counts as missing" in said
    assert "column 'z': 1 cell with 'NA', which counts as missing" in said
    assert "'3 stone': not a number (in kg)" in said
    values = [json.loads(line)["y_predicted"] for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert values[1] == values[2] == values[3] != values[0]


def test_a_group_does_not_divide_what_is_split_already(tmp_path: Path) -> None:
    groups = [f"g{row % 30}" for row in range(N)]
    given = planned(table(tmp_path, {"x": X, "group": groups, "split": SPLIT, "label": LABEL}))
    assert given.schema.group is None
    assert any("column 'group' is called a group, but the splits are given: left out" in line for line in given.notes)
    drawn = planned(table(tmp_path, {"x": X, "group": groups, "label": LABEL}))
    assert drawn.schema.group == "group"
    of_group: dict[str, set[str]] = {}
    for group, split in zip(groups, drawn.rows["split"], strict=True):
        of_group.setdefault(group, set()).add(split)
    assert all(len(splits) == 1 for splits in of_group.values())


# --- groups that a column of splits divides


def with_groups(tmp_path: Path, groups: list[object]) -> Path:
    return table(tmp_path, {"x": X, "user id": groups, "label": LABEL, "split": SPLIT})


def of_groups(path: Path, **roles: object) -> list[str]:
    return [own for own in planned(path, target=("label",), group="user id", **roles).warnings if "group" in own]


def test_groups_that_the_splits_divide_are_told(tmp_path: Path) -> None:
    groups: list[object] = [f"u{row // 4}" for row in range(N)]  # ten of train, u12 has 2 val rows and 2 test rows
    groups[0] = groups[45] = " u0 "
    groups[3] = groups[55] = ""  # of no group
    path = with_groups(tmp_path, groups)
    said = (
        "2 of 15 groups of 'user id' stand in several splits of the column 'split', e.g. 'u12' with 2 val rows, 2 test rows: "
        "scores on test are better than those of new groups will be (--ignore split without --split draws splits "
        "anew, by group)"
    )
    assert of_groups(path) == of_groups(path, split="split") == [said]
    for command in ("inspect", "preprocess"):
        code, output = invoke(
            command, path, "--target", "label", "--group", "user id", *(["-a", tmp_path / "a"] * (command[0] == "p"))
        )
        assert code == 0
        assert said in output
    assert of_groups(path, ignore=("split",)) == []


def test_groups_that_the_splits_keep_whole_are_not_spoken_of(tmp_path: Path) -> None:
    assert of_groups(with_groups(tmp_path, [f"u{row // 10}" for row in range(N)])) == []
    (said,) = of_groups(with_groups(tmp_path, [f"u{(row + 5) // 10}" for row in range(N - 10)] + ["last"] * 10))
    assert said.startswith(
        "1 of 7 groups of 'user id' stands in several splits of the column 'split', e.g. 'u4' with 5 train rows"
    )
    assert "5 val rows: scores on val are better" in said


def test_an_id_that_repeats_beside_a_column_of_splits_says_how_to_draw_them_by_it(tmp_path: Path) -> None:
    columns: dict[str, list[object]] = {"x": X, "user_id": [f"u{row // 3}" for row in range(N)], "label": LABEL}
    told = planned(table(tmp_path, {**columns, "split": SPLIT}), target=("label",)).notes
    (hint,) = (own for own in told if "called an id" in own)
    assert hint.endswith(
        "(--group user_id --ignore split without --split to draw splits that keep its rows together, which the column 'split' "
        "may divide)"
    )
    (hint,) = (own for own in planned(table(tmp_path, columns), target=("label",)).notes if "called an id" in own)
    assert hint.endswith("(--group user_id to keep its rows in one split)")
