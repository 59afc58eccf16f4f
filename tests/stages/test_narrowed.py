"""Vectors of fewer numbers from `optimize` on: what is averaged, enrolled, searched, predicted and exported is narrow."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mmcli.artifacts import store, tensors
from mmcli.data.dataset import Dataset
from mmcli.models import loading
from tests.conftest import ENCODERS, shared, write_csv
from tests.stages import test_contrastive
from tests.stages.test_gallery import COLUMNS, run
from tests.stages.test_identify import _draw

pytestmark = pytest.mark.slow


def _make(folder: Path) -> None:
    """Two seeds averaged, each with the column's own vectors beside: four times eight numbers."""
    _draw(folder)
    root = folder / "artifacts"
    dim = ["--set", "head.embedding.dim=8"]
    run("preprocess", folder / "closed.csv", "--task", "identify", "--ignore", "light", "-a", root)
    run("train-encoder", "--arch", "gradients", *ENCODERS, *dim, "--epochs", "4", "-a", root)
    run("fuse", "--method", "concat", "--seeds", "2", *dim, "--epochs", "10", "-a", root)
    rows = [[f"{own}-{number}.png", "dark", f"p{own}", f"{own}/{number}"] for own in range(8) for number in range(4)]
    write_csv(folder / "staff.csv", COLUMNS, [row for row in rows if row[0][2] in "01"])
    write_csv(folder / "door.csv", COLUMNS, [row for row in rows if row[0][2] in "23"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This process's own copy, in which tests work."""
    own = tmp_path_factory.mktemp("narrowed") / "own"
    return Path(shutil.copytree(shared(tmp_path_factory, "narrowed", _make), own))


def test_the_picked_width_is_that_of_all_that_follows(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(made)
    widths = ["--only", "dim", "--set", "optimization.dim.widths=[12, 6, 64]"]
    assert "numbers" in run("optimize", *widths)
    assert "picked 'dim 6'" in run("optimize", *widths, "--pick", "dim 6")
    rows = {row["name"]: row for row in json.loads(Path("artifacts/optimized/tradeoff.json").read_text())["rows"]}
    wide = rows["fused"]["extra"]["numbers"]
    assert wide == 2 * 2 * 8
    assert {name: row["extra"]["numbers"] for name, row in rows.items() if name.startswith("dim")} == {"dim 12": 12, "dim 6": 6}
    artifact = store.read(Path("artifacts"), "optimized", "optimized", "")
    shares = [own["share_of_squared_length"] for own in artifact.metrics["steps"]["dim"].values()]
    assert 0.3 < shares[1] < shares[0] <= 1
    weights = tensors.load(Path("artifacts/optimized/weights.safetensors"))
    assert weights["calibration.directions"].shape == (wide, 6)
    held = [len(tensor) for name, tensor in weights.items() if name.endswith((".gallery", ".identities"))]
    assert sum(count > 0 for count in held) == 2 and len(held) > 2  # the layer's own alone
    dataset = Dataset.open(Path("artifacts"))
    old = loading.outputs(store.read(Path("artifacts"), "fusions/concat", "fusion", ""), dataset)
    new = loading.outputs(artifact, dataset)
    val = dataset.splits["val"]
    directions = weights["calibration.directions"]
    wanted = torch.nn.functional.normalize(old.values @ directions, dim=1)
    torch.testing.assert_close(new.values, wanted, atol=2e-2, rtol=0)
    assert (
        artifact.metrics["val"]["rank1"]
        == dataset.task.score(dataset.task.outputs.gather(new, val), dataset.targets[val])["rank1"]
    )
    run("enrol", "staff.csv", "--gallery", "small")
    assert tensors.load(Path("artifacts/galleries/small/vectors.safetensors"))["vectors"].shape == (16, 6)
    run("search", "door.csv", "--gallery", "small", "-k", "1")
    with Path("hits.csv").open() as file:
        first = [(row["query"][0], row["name"][1]) for row in csv.DictReader(file)]
    assert sum(one == other for one, other in first) >= 12
    run("predict", "door.csv", "--gallery", "small", "-o", "seen.csv")
    run("export", "--to", "out", "--force")
    assert json.loads(Path("out/model.json").read_text())["task"]["threshold"] == pytest.approx(float(new.threshold), abs=1e-3)
    import onnxruntime

    example = tensors.load(Path("out/example.safetensors"))
    session = onnxruntime.InferenceSession("out/model.onnx")
    (found,) = session.run(None, {own.name: example[own.name].numpy() for own in session.get_inputs()})
    assert found.shape[1] == 6
    np.testing.assert_allclose(found, example["outputs"].numpy(), atol=1e-4)


def test_where_nothing_is_narrower_it_says_so(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    said = run("optimize", "--only", "dim", "--set", "optimization.dim.widths=[64]", "--force")
    assert "its vectors have 32 numbers: none of 64 is fewer" in said


def test_it_is_for_vectors_alone(chain: Path, tmp_path: Path) -> None:
    root = shutil.copytree(chain, tmp_path / "artifacts")
    said = run("optimize", "--only", "dim", "-a", root)
    assert "it is for answers that are vectors to compare, and these are" in said


def test_columns_that_belong_together_share_the_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test_contrastive._draw(tmp_path)
    monkeypatch.chdir(tmp_path)
    run("preprocess", "views.csv", "--task", "contrastive", "--image-size", "32")
    run("train-encoder", "--arch", "pixels", "--arch", "axes", "--epochs", "1")
    run("fuse", "--seeds", "1", "--epochs", "2")
    widths = ["--only", "dim", "--set", "optimization.dim.widths=[8]"]
    run("optimize", *widths)
    run("optimize", *widths, "--pick", "dim 8")
    dataset = Dataset.open(Path("artifacts"))
    artifact = store.read(Path("artifacts"), "optimized", "optimized", "")
    found = loading.outputs(artifact, dataset)
    assert found.values.shape == (test_contrastive.ROWS, 3, 8)
    assert not found.values[~found.present].any()
    torch.testing.assert_close(found.values[found.present].norm(dim=1), torch.ones(int(found.present.sum())))
    run("enrol", "views.csv", "--gallery", "words", "--column", "said", "--vectors", "int8")
    run("search", "views.csv", "--gallery", "words", "--column", "drawn", "-k", "3")
    assert tensors.load(Path("artifacts/galleries/words/vectors.safetensors"))["vectors"].shape[1] == 8
