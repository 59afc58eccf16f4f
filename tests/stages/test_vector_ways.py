"""Vectors to compare by other ways to run the same model: `optimize` measures them, and what is picked answers alike."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcli.data.dataset import Dataset
from mmcli.models import predictor
from mmcli.models.predictor import Model
from tests.conftest import shared
from tests.stages import test_contrastive, test_narrowed
from tests.stages.test_export import records
from tests.stages.test_gallery import run

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow
WAYS = ("--only", "onnx", "--only", "precision")


def rows_of(root: Path) -> dict[str, dict[str, Any]]:
    rows = json.loads((root / "optimized" / "tradeoff.json").read_text())["rows"]
    assert not [row for row in rows if row.get("reason")]
    return {row["name"]: row for row in rows}


def answers(model: Model) -> Any:
    """Outputs for the rows of test and val."""
    dataset = Dataset.open(model.artifact.root)
    index = torch.cat([dataset.splits["test"], dataset.splits["val"]])
    return model.outputs({name: dataset.column(name).select(index) for name in model.network.inputs})


def test_identities(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is enrolled, and from when on one is accepted, are those of the model, whatever runs it."""
    made = shared(tmp_path_factory, "narrowed", test_narrowed._make)
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    root = Path("artifacts")
    run("optimize", *WAYS, "--precision", "float32")
    rows = rows_of(root)
    assert {"fused", "fused, onnx", "fused, onnx int8", "fused, bfloat16"} <= set(rows)
    assert rows["fused, onnx"]["score"] == rows["fused"]["score"]
    assert {row["extra"]["numbers"] for row in rows.values()} == {32}
    run("optimize", *WAYS, "--precision", "float32", "--pick", "fused, onnx")
    ours, wanted = (predictor.load(root / own, "cpu", "float32") for own in ("optimized", "fusions/concat"))
    assert ours.artifact.config["way"] == "onnx"
    found, right = answers(ours), answers(wanted)
    torch.testing.assert_close(found.values, right.values, atol=1e-4, rtol=0)
    assert torch.equal(found.identities, right.identities) and found.threshold == right.threshold
    torch.testing.assert_close(found.gallery, right.gallery)
    assert ours.task.decode(found)[""] == wanted.task.decode(right)[""]
    run("predict", "door.csv", "-o", "named.csv")
    assert sum(row["person_predicted"] == row["person"] for row in records(Path("named.csv"))) >= 12
    run("enrol", "staff.csv", "--gallery", "staff")
    run("search", "door.csv", "--gallery", "staff", "-k", "1")
    assert sum(row["query"][0] == row["name"][1] for row in records(Path("hits.csv"))) >= 12
    run("export", "--to", "out")
    assert json.loads(Path("out/model.json").read_text())["task"]["threshold"] == pytest.approx(float(right.threshold))


def test_columns_that_belong_together(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """In int8 too; what is absent stays zero, and has no answer."""
    views = shared(tmp_path_factory, "views", test_contrastive._draw)
    made = shared(tmp_path_factory, "contrastive", lambda folder: test_contrastive._train(views, folder / "root"))
    root = shutil.copytree(made / "root", tmp_path / "root")
    options = ("--only", "onnx", "--precision", "float32", "-a", root)
    run("optimize", *options)
    rows = rows_of(root)
    assert rows["fused, onnx"]["score"] == pytest.approx(rows["fused"]["score"])
    assert rows["fused, onnx int8"]["score"] > rows["fused"]["score"] - 0.1
    wanted = answers(predictor.load(root / "fusions/align", "cpu", "float32"))
    for name, near in (("fused, onnx", 1e-4), ("fused, onnx int8", 0.05)):
        run("optimize", *options, "--pick", name)
        found = answers(predictor.load(root / "optimized", "cpu", "float32"))
        torch.testing.assert_close(found.values, wanted.values, atol=near, rtol=0)
        assert torch.equal(found.present, wanted.present) and not bool(found.present.all())
        assert torch.equal(found.asked, wanted.asked)
    run("predict", views / "views.csv", "-o", tmp_path / "seen.csv", "-a", root)
    seen = records(tmp_path / "seen.csv")
    assert seen[10]["together_predicted_drawn_inverted"] == "" != seen[11]["together_predicted_drawn_inverted"]
    run("enrol", views / "views.csv", "--gallery", "drawings", "--column", "drawn", "--id", "drawn", "-a", root)
    run("search", views / "views.csv", "--gallery", "drawings", "--column", "inverted", "-o", tmp_path / "h.csv", "-a", root)
    hits = [row for row in records(tmp_path / "h.csv") if row["rank"] == "1" and int(row["query"]) > 80]
    assert sum(row["id"] == f"a{int(row['query']) - 1}.png" for row in hits) > 0.9 * len(hits)
