from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from mmcli.artifacts import store
from mmcli.cli import app
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.data.inputs import Input
from mmcli.data.there import FilesThere
from mmcli.errors import ConfigError, DataError
from mmcli.modalities.image import Config, Image
from mmcli.modalities.text import Text
from mmcli.models.reading import Reader
from mmcli.options.columns import Roles
from mmcli.options.preprocess import Options
from mmcli.reporting.console import Console
from mmcli.stages import Context, preprocess
from tests.conftest import draw, write_csv

SIXTEEN = {"image": {"size": 16}}


def context(root: Path, **options: Any) -> Context:
    return Context(root=root, console=Console(quiet=True), **options)


def run(table: Path, root: Path, roles: Roles | None = None, force: bool = False, seed: int = 0, **options: Any) -> Dataset:
    told = Options(roles=roles or Roles(), **{"modality_options": SIXTEEN, **options})
    preprocess.run(table, told, context(root, force=force, seed=seed))
    return Dataset.open(root)


@pytest.fixture
def copy(table: Path, tmp_path: Path) -> Path:
    """A table that a test may change."""
    shutil.copytree(table.parent, tmp_path / "copy")
    return tmp_path / "copy" / "data.csv"


def edit(table: Path, row: int, column: int, value: str) -> None:
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    rows[row][column] = value
    write_csv(table, rows[0], rows[1:])


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_what_is_on_disk(table: Path, tmp_path: Path) -> None:
    dataset = run(table, tmp_path)
    assert dataset.inputs == ["picture", "word"]
    assert {name: len(index) for name, index in dataset.splits.items()} == {"train": 36, "val": 12, "test": 12}
    assert dataset.rows["id"].tolist()[:2] == ["r0", "r1"]
    picture = dataset.column("picture")
    assert picture.values.shape == (60, 3, 16, 16)
    assert picture.values.dtype == torch.float16
    assert picture.present.all()
    assert dataset.targets.shape == (60,)
    assert getattr(dataset.task, "classes", []) == ["blue round", "blue square", "red round", "red square"]


def test_lists_of_no_pictures_are_missing_cells(tmp_path: Path) -> None:
    rows: list[list[str]] = []
    for row in range(60):
        draw("square", "green" if row % 2 else "red").save(tmp_path / f"{row}.png")
        rows.append([("[]", "[null]")[row % 2] if row % 6 < 2 else json.dumps([f"{row}.png"]), "ab"[row % 2]])
    dataset = run(write_csv(tmp_path / "t.csv", ["picture", "label"], rows), tmp_path / "art", max_bad=0.0)
    assert dataset.column("picture").present.tolist() == [row % 6 >= 2 for row in range(60)]
    rejects = tmp_path / "art" / "preprocess" / "rejects.csv"
    assert not rejects.exists() or len(read(rejects)) == 1
    said = CliRunner().invoke(app, ["inspect", str(tmp_path / "t.csv"), "--json"])
    assert json.loads(said.stdout)["columns"][0]["missing"] == 20
    assert "are not there" not in said.output


def test_lists_of_no_pictures_are_missing_to_a_model(tmp_path: Path) -> None:
    draw("square", "red").save(tmp_path / "a.png")
    image = Image.fit(Config(size=16), iter([str(tmp_path / "a.png")]))
    reader = Reader({"picture": Input("picture", {"picture": image})}, {}, frozenset())
    cells, there = ["[]", '["a.png"]', '["gone.png"]'], FilesThere("picture")
    found = reader.read(pd.DataFrame({"picture": cells}), str(tmp_path), {"picture": there})
    assert found.here.tolist() == [False, True, False]
    assert [(row, cell) for row, _, cell, _ in found.rejects] == [(3, '["gone.png"]')]
    assert (there.named, there.missing) == (2, 1)


def bits(root: Path) -> dict[str, str]:
    files = store.read(root, "preprocess", "preprocess", "").manifest["files"]
    return {name: entry["sha256"] for name, entry in files.items()}


def test_the_same_bytes_with_any_number_of_workers(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "shard_rows", 7)
    run(table, tmp_path / "one", workers=1)
    run(table, tmp_path / "four", workers=4)
    assert bits(tmp_path / "one") == bits(tmp_path / "four")
    assert len([name for name in bits(tmp_path / "one") if name.startswith("columns/picture/0")]) == 9


def test_an_unchanged_table_is_not_done_again_a_changed_picture_is(copy: Path, tmp_path: Path) -> None:
    first = run(copy, tmp_path).artifact
    assert run(copy, tmp_path).artifact.manifest == first.manifest
    draw("square", "green").save(copy.parent / "pictures" / "5.png")
    second = run(copy, tmp_path).artifact
    assert second.hash != first.hash
    assert second.manifest["parts"]["word"] == first.manifest["parts"]["word"]
    assert second.manifest["parts"]["picture"] != first.manifest["parts"]["picture"]


def test_appended_rows_are_the_only_ones_decoded(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "shard_rows", 20)
    monkeypatch.setattr(Text, "shard_rows", 20)
    run(copy, tmp_path)
    rows = read(copy)
    write_csv(copy, rows[0], [*rows[1:], ["new", "pictures/3.png", "apple", "train", "red round"]])
    decoded: list[str] = []
    from mmcli.modalities import image

    original = image._decode
    monkeypatch.setattr(image, "_decode", lambda path, *rest: (decoded.append(Path(path).name), original(path, *rest))[1])
    dataset = run(copy, tmp_path)
    assert decoded == ["3.png"]
    assert len(dataset.rows) == 61


def test_unreadable_cells_are_listed_and_count_as_absent(copy: Path, tmp_path: Path) -> None:
    (copy.parent / "pictures" / "4.png").write_bytes(b"<html>")
    edit(copy, 9, 1, "pictures/none.png")
    dataset = run(copy, tmp_path)
    listed = read(tmp_path / "preprocess" / "rejects.csv")
    assert listed[0] == ["row", "column", "path", "reason"]
    assert [line[:3] for line in listed[1:]] == [["5", "picture", "pictures/4.png"], ["9", "picture", "pictures/none.png"]]
    assert "not an image" in listed[1][3]
    assert listed[2][3] == "there is no such file"
    present = dataset.column("picture").present
    assert (~present).nonzero().flatten().tolist() == [4, 8]


def test_too_many_unreadable_cells_are_an_error(copy: Path, tmp_path: Path) -> None:
    for number in range(4):
        (copy.parent / "pictures" / f"{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"4 of 60 cells of column 'picture' \(6\.7%\) cannot be read.*\n.*--max-bad 0\.07"):
        run(copy, tmp_path)
    assert not store.exists(tmp_path, "preprocess")
    run(copy, tmp_path, max_bad=0.07)


def test_the_share_that_an_error_tells_to_allow_is_enough(copy: Path, tmp_path: Path) -> None:
    for number in range(5):  # 8.3%, which is not 8
        (copy.parent / "pictures" / f"{number}.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"\(8\.3%\) cannot be read.*\n.*--max-bad 0\.09"):
        run(copy, tmp_path)
    run(copy, tmp_path, max_bad=0.09)


def test_strict_makes_one_unreadable_cell_an_error(copy: Path, tmp_path: Path) -> None:
    (copy.parent / "pictures" / "4.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"row 5, column 'picture', 'pictures/4\.png'"):
        run(copy, tmp_path, strict=True)


def test_rows_without_a_target_are_listed_and_left_out(copy: Path, tmp_path: Path) -> None:
    edit(copy, 7, 4, "")
    dataset = run(copy, tmp_path)
    assert dataset.rows["split"].tolist()[6] == "unlabelled"
    assert sum(map(len, dataset.splits.values())) == 59
    assert read(tmp_path / "preprocess" / "dropped.csv") == [["row", "reason"], ["7", "no label"]]


def test_a_class_that_train_lacks_names_the_row(copy: Path, tmp_path: Path) -> None:
    edit(copy, 17, 4, "green round")
    with pytest.raises(DataError, match=r"row 17 \(test\): the class 'green round' is absent from the train split"):
        run(copy, tmp_path)


def test_one_class_is_an_error(copy: Path, tmp_path: Path) -> None:
    rows = read(copy)
    write_csv(copy, rows[0], [[*row[:4], "same"] for row in rows[1:]])
    with pytest.raises(DataError, match="the target 'label' is 'same' in all 60 rows that have one"):
        run(copy, tmp_path)


def test_pictures_that_are_nowhere_suggest_the_media_root(copy: Path, tmp_path: Path) -> None:
    (copy.parent / "pictures").rename(tmp_path / "pictures")
    with pytest.raises(DataError, match=r"none of the first 60 files is there.*\n.*--media-root"):
        run(copy, tmp_path / "a")
    assert run(copy, tmp_path / "a", Roles(media_root=str(tmp_path))).column("picture").present.all()


def test_media_paths_do_not_depend_on_the_working_directory(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table.parent.parent)
    relative = table.relative_to(table.parent.parent)
    assert run(relative, tmp_path).column("picture").present.all()


def test_drawn_splits_keep_groups_whole(copy: Path, tmp_path: Path) -> None:
    dataset = run(copy, tmp_path, Roles(inputs=("picture",), group="word", ignore=("split",)), val=0.2, test=0.2)
    words = [row[2] for row in read(copy)[1:]]
    assert all(len(set(dataset.rows["split"][[w == word for w in words]])) == 1 for word in set(words))


def test_a_split_column_without_val_borrows_from_train(copy: Path, tmp_path: Path) -> None:
    rows = read(copy)
    write_csv(copy, rows[0], [[*row[:3], row[3].replace("val", "train"), row[4]] for row in rows[1:]])
    counts = {name: len(index) for name, index in run(copy, tmp_path, val=0.25).splits.items()}
    assert counts["test"] == 12
    assert counts["val"] == 12


def test_compact_storage_gives_the_same_tensors(table: Path, tmp_path: Path) -> None:
    half = run(table, tmp_path / "half")
    compact = run(table, tmp_path / "compact", modality_options={"image": {"size": 16, "store": "uint8"}})
    assert torch.equal(half.column("picture").values, compact.column("picture").values)
    sizes = [
        sum(p.stat().st_size for p in (tmp_path / n / "preprocess/columns/picture").glob("*")) for n in ("half", "compact")
    ]
    assert sizes[1] < 0.6 * sizes[0]


def test_text_as_told_where_a_picture_was_inferred(table: Path, tmp_path: Path) -> None:
    dataset = run(table, tmp_path, Roles(types={"picture": "text"}), modality_options={})
    assert dataset.schema["columns"]["picture"]["modality"] == "text"
    with pytest.raises(ConfigError, match="the option size is for image columns, the table has none"):
        run(table, tmp_path, Roles(types={"picture": "text"}))


def test_a_class_called_na_is_a_class(copy: Path, tmp_path: Path) -> None:
    rows = read(copy)
    write_csv(copy, rows[0], [[*row[:4], "NA" if "red" in row[4] else "null"] for row in rows[1:]])
    assert getattr(run(copy, tmp_path).task, "classes", []) == ["NA", "null"]


def test_dry_run_finds_errors_and_writes_nothing(table: Path, tmp_path: Path) -> None:
    preprocess.run(table, Options(), context(tmp_path / "a", dry_run=True))
    assert not (tmp_path / "a").exists()
    with pytest.raises(ConfigError, match=r"--val 1\.5"):
        preprocess.run(table, Options(val=1.5), context(tmp_path / "a", dry_run=True))


def test_settings_reach_the_modalities(table: Path, tmp_path: Path) -> None:
    told = Options(modality_options={"image": {"size": 16}})
    settings = Settings.gather(None, ["modality.image.size=8", "preprocess.modality.text.max_tokens=1"])
    preprocess.run(table, told, context(tmp_path, settings=settings))
    dataset = Dataset.open(tmp_path)
    assert dataset.column("picture").values.shape[-1] == 16  # the flag wins
    offsets = dataset.column("word").offsets
    assert offsets is not None
    assert offsets.diff().max() == 1


def test_a_killed_run_goes_on_with_the_shards_it_has(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "shard_rows", 10)
    run(table, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(preprocess, "_judge", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            run(table, tmp_path / "cut")
    from mmcli.modalities import image

    monkeypatch.setattr(image, "decode", lambda *_: pytest.fail("decoded again"))
    run(table, tmp_path / "cut")
    assert bits(tmp_path / "cut") == bits(tmp_path / "whole")


def test_the_schema_is_readable(table: Path, tmp_path: Path) -> None:
    run(table, tmp_path)
    schema = json.loads((tmp_path / "preprocess" / "schema.json").read_text())
    assert schema["targets"] == ["label"]
    assert schema["columns"]["picture"]["modality"] == "image"
    assert schema["roles"] == {"split": "split", "group": None, "id": "id", "ignored": []}
