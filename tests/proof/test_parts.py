"""What the report is made of: the steps in hand, what is worse, what to do next, where it comes from, how it learnt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmcli.artifacts import store
from mmcli.artifacts.store import Artifact
from mmcli.errors import ArtifactError
from mmcli.models import loading
from mmcli.models.runners import Cost
from mmcli.proof import curves, provenance, report, rows, tables, trials
from mmcli.proof.advice import advice
from mmcli.proof.steps import in_hand
from mmcli.proof.worse import beyond_noise
from mmcli.reporting.classes import ClassScore
from mmcli.reporting.metrics import Interval
from mmcli.selection import leaderboard
from mmcli.selection.tradeoff import Row
from mmcli.signals import Column
from mmcli.tasks.classification import Classification, Config
from mmcli.text.lattice import Lattice, Search


def optimized(picked: str, kept: tuple[str, ...], members: tuple[str, ...] = ()) -> dict[str, Any]:
    names = ("search", "ensemble", "finetune", "calibrate")
    history = [{"step": "fused", "kept": True}, *({"step": name, "kept": name in kept} for name in names)]
    steps: dict[str, Any] = {name: {} for name in (*names, "distill")}
    steps["ensemble"] = {"members": dict.fromkeys(members, 1)}
    return {"picked": picked, "history": history, "steps": steps}


@pytest.mark.parametrize(
    ("found", "steps"),
    [
        (optimized("tuned, onnx", ("search", "calibrate")), ["search", "calibrate"]),
        (optimized("tuned", ("calibrate",)), ["calibrate"]),
        (optimized("fused, onnx int8", ("search", "calibrate")), []),
        (optimized("tuned", ("search", "ensemble"), ("trial 1", "trial 2")), ["search", "ensemble"]),
        (optimized("tuned", ("ensemble",), ("trial 1", "fusions/gated")), ["search", "ensemble"]),
        (optimized("tuned", ("search", "ensemble"), ("fusions/gated",)), ["ensemble"]),
        (optimized("distill, onnx", ("finetune",)), ["finetune", "distill"]),
    ],
)
def test_only_steps_of_the_picked_model_are_in_hand(found: dict[str, Any], steps: list[str]) -> None:
    assert in_hand(found) == steps


def test_what_is_worse_beyond_noise_is_found_though_the_primary_metric_is_the_same() -> None:
    task = Classification(Config(), ["a", "b"], [1, 1])
    targets = torch.tensor([0, 1] * 40)
    sure = torch.where(torch.eye(2)[targets] > 0, 4.0, -4.0)
    unsure = sure / 20
    found = beyond_noise(task, unsure, sure, targets, 0)
    assert [said.split(" ")[0] for said in found] == ["log", "ECE"]
    right = np.exp(0.4) / (1 + np.exp(0.4))
    assert found[0] == f"log loss {-np.log(right):.3f} instead of 0.000"
    assert beyond_noise(task, sure, unsure, targets, 0) == []
    assert beyond_noise(task, sure, sure, targets, 0) == []


def summary(low: float = 0.1, linear: float = 0.1, exact: int = 0, suspects: int = 0) -> dict[str, Any]:
    trust = {"duplicates": {"exact": exact, "near": 0}, "suspects": [[1, 0.1, 0]] * suspects}
    return {
        "gain": {"best_column": {"low": low}, "linear": {"value": linear}},
        "best_column": "photo",
        "reference": "linear",
        "constant": {"name": "majority", "beaten": True},
        "trust": trust,
    }


def test_advice_follows_from_what_was_found() -> None:
    strong, weak = ClassScore("cat", 10, 10, 9), [ClassScore(name, 10, 10, 1) for name in ("dog", "fox", "elk", "emu")]
    said = [own.said for own in advice(summary(), [strong], {"test": 500}, 0, True, Path("artifacts"))]
    assert said == ["Predict rows that have no answer yet:", "Take the model to where it is used:"]
    found = advice(summary(-0.1, -0.1, 3, 2), [strong, *weak], {"test": 50}, 7, False, Path("my runs/a"))
    text = "\n".join(own.said for own in found)
    for part in (
        "photo alone",
        "linear model",
        "the 3 test rows",
        "the 2 rows",
        "7 cells",
        "dog, elk, emu and 1 more",
        "with 50",
    ):
        assert part in text, part
    assert "cat" not in text
    commands = [own.command for own in found if own.command]
    assert commands[0] == "mmcli optimize -a 'my runs/a'"
    assert commands[1] == "mmcli predict NEW.csv -o predictions.csv -a 'my runs/a'"


def test_where_nothing_beats_the_constant_baseline_neither_an_input_nor_a_linear_model_is_advised() -> None:
    found = {**summary(-0.1, -0.1), "constant": {"name": "majority", "beaten": False}}
    said = [own.said for own in advice(found, [], {"test": 500}, 0, True, Path("a"))]
    assert said[0] == "Nothing is shown to beat the majority baseline, which sees no input: give more rows, or other inputs."
    assert not any("photo" in own or "linear" in own for own in said)


def test_what_one_input_gives_by_a_baseline_is_advised_to_be_weighed_instead_of_its_model() -> None:
    plain = {"baseline": "nearest:clip", "input": "clip", "gain": {"low": 0.0}}
    said = [own.said for own in advice({**summary(-0.1), "one_input": plain}, [], {"test": 500}, 0, True, Path("a"))]
    assert said[0].startswith("Fusing is not shown to beat clip alone, read by the nearest:clip baseline")
    assert not any("photo" in own for own in said)


def test_advice_on_vectors_to_compare_names_what_they_take() -> None:
    found = advice(summary(), [], {"test": 500}, 0, False, Path("faces"), compared=True)
    assert [own.command.partition(" -a faces")[0] for own in found if own.command] == [
        "mmcli optimize",
        "mmcli predict NEW.csv -o predictions.csv",
        "mmcli enrol TABLE --gallery NAME",
        "mmcli export --to exported",
    ]


def test_of_one_input_nothing_is_advised_to_be_weighed_alone() -> None:
    several, one = {"inputs": {"photo": ["photo"], "text": ["text"]}}, {"inputs": {"photo": ["photo"]}}
    for inputs, expected in ((several, True), (one, False)):
        found = advice({**summary(-0.1, 0.1), **inputs}, [], {"test": 500}, 0, True, Path("a"))
        assert any("alone" in own.said for own in found) is expected


def test_what_is_left_out_for_one_reason_is_told_in_one_line() -> None:
    found = {"calibration": "it is made for classes", "distillation": "it is made for classes", "EMAP": "it is slow"}
    assert report._left_out(found) == ["calibration and distillation (they are made for classes)", "EMAP (it is slow)"]


def test_answers_on_cards_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [("ann",), ("bob",), ("cem",)]
    decoded = {"": ["bob", "cem"], "_similarity": [0.8125, 0.3], "_accepted": [True, False], "_probability": [0.1, 0.2]}
    task = SimpleNamespace(
        outputs=SimpleNamespace(gather=lambda outputs, index: outputs), decode=lambda outputs: decoded, pairs=lambda *_: None
    )
    dataset = SimpleNamespace(
        task=task,
        cells=cells,
        targets=torch.zeros(3),
        rows=pd.DataFrame({"id": ["r1", "r2", "r3"]}),
        artifact=SimpleNamespace(config={"schema": {"id": "photo_no"}}),
    )
    monkeypatch.setattr(rows.loading, "outputs", lambda best, dataset: None)
    monkeypatch.setattr(rows, "examples", lambda dataset, found: [[] for _ in found])
    monkeypatch.setattr(rows.differences, "pieces", lambda task, outputs, targets: [None, None])
    monkeypatch.setattr(rows.differences, "plain", lambda pieces: "")
    first, second = rows.worst([[1, "wrong"], [2, "wrong"]], dataset, None)  # type: ignore[arg-type]
    assert first["given"] == "predicted bob, similarity 0.812, accepted"
    assert second["given"] == "predicted cem, similarity 0.300, not accepted, as unknown"
    first, second = rows.worst([[1, "wrong"], [2, "wrong"]], dataset, None, [3, 1])  # type: ignore[arg-type]
    assert (first["given"], second["given"]) == ("taken for photo_no r3 (cem)", "taken for photo_no r1 (ann)")


def artifact(root: Path, name: str, command: str, seconds: float, kind: str = "encoder") -> Artifact:
    manifest = {"command": command, "seconds": seconds, "created": "2026-01-02T03:04:05+0000", "kind": kind, "config": {}}
    return Artifact(root, name, {**manifest, "versions": {"torch": "2.11"}})


def test_where_a_model_comes_from(tmp_path: Path) -> None:
    parts = [
        artifact(tmp_path, "preprocess", "mmcli preprocess a.csv", 3.2),
        artifact(tmp_path, "baselines", "mmcli fuse", 4.0, "baselines"),
        artifact(tmp_path, "fusions/gated", "mmcli fuse --method gated", 3600),
    ]
    found = provenance.of(parts, "mmcli evaluate", 60.0)
    assert found.commands == ("mmcli preprocess a.csv", "mmcli fuse --method gated", "mmcli evaluate")
    assert found.duration == "1 h 1 min"
    assert found.versions == "torch 2.11"
    assert [str(cell) for cell in found.parts.rows[0]] == ["preprocess", "2026-01-02 03:04:05", "3 s"]
    assert "cores" in found.machine
    assert [provenance.lasted(seconds) for seconds in (0.2, 59.7, 125)] == ["0.2 s", "1 min 0 s", "2 min 5 s"]


def sealed(artifact: Artifact) -> None:
    """Has the manifest vouch for what lies there."""
    files = [path for path in artifact.path.rglob("*") if path.is_file()]
    artifact.manifest["files"] = {
        path.relative_to(artifact.path).as_posix(): {"bytes": path.stat().st_size, "sha256": store.file_digest(path)}
        for path in files
    }


def test_logs_are_drawn_and_those_that_are_not_there_are_passed_over(tmp_path: Path) -> None:
    fused = Artifact(tmp_path, "fusions/gated", {"config": {"method": "gated"}, "command": "mmcli fuse"})
    for seed in (0, 1):
        (fused.path / f"seed-{seed}").mkdir(parents=True)
        rows = "1,2.0,1.5\n2,1.0,1.25\n3,0.5,1.4\n"
        (fused.path / f"seed-{seed}" / "log.csv").write_text(f"epoch,train_loss,val_loss\n{rows}")
    (fused.path / "seed-2").mkdir()
    (fused.path / "seed-2" / "log.csv").write_text("epoch,train_loss\n1,2.0\n")
    sealed(fused)
    found = curves.learnt({"word": Artifact(tmp_path, "encoders/word/bag", {"files": {}})}, fused, fused)
    assert [own.name for own in found] == ["F (gated), seed 0", "F (gated), seed 1"]
    assert found[0].said == "F (gated), seed 0: 3 epochs; least val loss 1.250 after epoch 2."
    assert found[0].figure.legend == (("s7 d1", "train"), ("s0", "val"))
    log = fused.path / "seed-1" / "log.csv"
    log.write_text(log.read_text().replace("1.25", "1.05"))
    with pytest.raises(ArtifactError, match="seed-1"):
        curves.learnt({}, fused, fused)


def test_a_leaderboard_has_as_many_tables_as_it_takes() -> None:
    names = ["accuracy", *(f"metric {n}" for n in range(9))]
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    entry = {"label": "fused", "what": "", "kind": "fused", "metrics": dict.fromkeys(names, score), "gain": "", "mcnemar": ""}
    other = {**entry, "label": "linear", "kind": "baseline", "gain": "level [-0.010, +0.020]", "mcnemar": "1.000"}
    first, more = tables.leaderboard([entry, other], names, "accuracy", "fused")
    assert first.header == ("model", "accuracy", "fused over it", *(f"metric {n}" for n in range(5)))
    assert more.header == ("model", *(f"metric {n}" for n in range(5, 9)))
    assert first.strong == {0}
    assert first.rows[1][2] == ("level", "[-0.010, +0.020] p 1.000")
    large = {"value": 1e9, "low": 1e9, "high": 2e9}
    wide = {**entry, "metrics": dict.fromkeys(names, large)}
    assert [len(grid.header) for grid in tables.leaderboard([wide], names, "accuracy", "fused")] == [5, 4, 4, 2]


def test_classes_are_told_the_weakest_first_and_those_without_rows_last() -> None:
    scores = [ClassScore("good", 4, 4, 4), ClassScore("none", 0, 3, 0), ClassScore("bad", 4, 2, 1)]
    grid = tables.classes(scores, "class")
    assert [[str(cell) for cell in row] for row in grid.rows] == [
        ["bad", "4", "0.500", "0.250", "0.333"],
        ["good", "4", "1.000", "1.000", "1.000"],
        ["none", "0", "–", "–", "–"],
    ]


@pytest.mark.parametrize(("picked", "drawn"), [("tuned", {"tradeoff", "history", "importances"}), ("fused", {"tradeoff"})])
def test_the_search_is_drawn_only_where_the_picked_model_holds_it(tmp_path: Path, picked: str, drawn: set[str]) -> None:
    cost = Cost(1.0, 2.0, 10.0, 20.0, 3200.0, 5.0, 9.0)
    rows = [Row(name, "torch", 0.9, 0.5, Interval(0, 0, 0, 9), cost, allowed=True).as_dict() for name in ("fused", "tuned")]
    head: dict[str, Any] = {"name": "linear", "config": {}}
    encoders = {"x": {"input": "x", "architecture": "mlp", "encoder": {}, "head": head}}
    member = {"method": "gated", "fusion": {}, "encoders": ["x"], "decisions": False}
    recipe = {"encoders": encoders, "members": [member], "head": head, "modality_dropout": 0.0}
    config = {
        **{"method": "gated", "fusion": {}, "encoders": encoders, "head": head, "trained_encoders": True, "seeds": [0]},
        **{
            "training": {"decisions": False, "modality_dropout": 0.0},
            "base": "fusions/gated",
            "way": "torch",
            "picked": picked,
        },
        "recipe": {**recipe, "calibration": "", "calibration_shape": [], "slim": False},
    }
    with store.writing(
        tmp_path, "optimized", kind="optimized", command="", config=config, seed=0, parents={}, fingerprint=""
    ) as draft:
        draft.write_json("tradeoff.json", {"metric": "accuracy", "reference": "fused", "picked": picked, "rows": rows})
        draft.metrics.update(optimized(picked, ("search",)))
        draft.metrics.update(primary_metric="accuracy", higher_is_better=True, val={"accuracy": 0.9, "loss": 0.5})
        draft.metrics.update(before={}, after={}, conformal={})
        trials = [{"score": 0.8}, {"score": None}, {"score": 0.9}]
        draft.metrics["steps"]["search"] = {"history": trials, "importances": {"rate": 0.7, "width": 0.3}}
    best = store.read(tmp_path, "optimized", "optimized", "")
    found = report._optimizing_figures(best, Classification(Config(), ["a", "b"], [1, 1]))
    assert {name for name, figure in found.items() if figure is not None} == drawn
    assert report._optimizing_figures(Artifact(tmp_path, "fusions/gated", {"kind": "fusion"}), None).keys() == found.keys()


def test_the_inputs_are_those_of_the_model_in_hand(tmp_path: Path) -> None:
    encoders = {"word/bag": {"input": "word"}, "photo": {"input": "photo"}, "word/rnn": {"input": "word"}}
    assert loading.inputs_of(Artifact(tmp_path, "optimized", {"config": {"encoders": encoders}})) == ["word", "photo"]


def test_a_leaderboard_s_names_are_escaped() -> None:
    said = leaderboard.markdown(["", " model"], [["fusion", "a|b `c`"]], "a|b *wins*")
    assert said == "a\\|b \\*wins\\*\n\n|  | model |\n| --- | --- |\n| fusion | a\\|b \\`c\\` |\n"


def test_one_row_is_told_as_one() -> None:
    said = [own.said for own in advice(summary(exact=1, suspects=1), [], {"test": 500}, 1, True, Path("a"))]
    assert said[:3] == [
        "Take out the one test row that train has too, or nearly: the score is flattered.",
        "Look at the one row whose target may be wrong (listed above).",
        "Mend the one cell that could not be read, see preprocess/rejects.csv.",
    ]


def test_encoders_that_time_cut_short_are_what_to_do_first() -> None:
    found = advice(summary(-0.1, -0.1), [], {"test": 500}, 0, True, Path("a"), cut={"clip/crnn": (2, 15), "note/bag": (1, 30)})
    assert found[0].said == (
        "Give training more time (--time-budget), before anything else is read off these scores: it ended clip/crnn after 2 of "
        "15 epochs and note/bag after 1 of 30 epochs."
    )


def test_the_page_says_where_texts_are_found_without_the_search() -> None:
    task: Any = SimpleNamespace(outputs=SimpleNamespace(words="texts"), primary_metric="wer")
    test = {"missing_curve": {"sound": [{"share": 0.0, "score": 0.638}, {"share": 1.0, "score": 1.0}]}}
    column = Column(torch.zeros(2, 3), torch.ones(1, dtype=torch.bool), torch.tensor([0, 2]))
    searched = Lattice(column.values, column.present, column.offsets, search=Search(8, 0.5).tensor())
    said = trials.unsearched(test, 0.471, task, searched)
    assert "WER is 0.638 so with nothing missing, not 0.471" in said
    assert trials.unsearched(test, 0.6383, task, searched) == trials.unsearched({}, 0.471, task, searched) == ""
    assert trials.unsearched(test, 0.471, task, column) == ""  # greedy: what differs has another cause
    task.outputs.words = "decisions"
    assert trials.unsearched(test, 0.471, task, searched) == ""
