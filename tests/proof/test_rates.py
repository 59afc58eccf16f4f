"""Errors at the settled threshold by values of a column: on rows counted by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mmcli.proof import rates, tables, trust
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as OfClasses
from mmcli.tasks.identify import Config as OfIdentities
from mmcli.tasks.identify import Identify
from mmcli.tasks.match import Config, Match
from mmcli.vectors.embedded import Embedded
from tests.proof.test_trust import dataset

MATCH = Match.fit(Config(), [("no",), ("yes",)], ["same"])


def odds(scores: list[float]) -> torch.Tensor:
    own = torch.tensor(scores, dtype=torch.float64)
    return torch.stack([torch.zeros_like(own), own], 1)


SCORES = [2.0, 1.0, -1.0, 1.0, -2.0, -3.0, 3.0, -1.0] * 2
SAME = torch.tensor([1, 1, 1, 0, 0, 0, 1, 0] * 2)
SITE = ["a"] * 6 + ["b"] * 10


def test_pairs_accepted_and_refused_by_value() -> None:
    found = rates.by_value(MATCH, odds(SCORES), SAME, {"site": SITE}, 0)
    assert found["threshold"] == "a probability of .5, which val settled"
    b, a = found["values"]  # the larger first
    assert (a["value"], a["rows"], b["value"], b["rows"]) == ("a", 6, "b", 10)
    assert (a["far"]["wrong"], a["far"]["n"], a["frr"]["wrong"], a["frr"]["n"]) == (1, 3, 1, 3)
    assert (b["far"]["wrong"], b["far"]["n"], b["frr"]["wrong"], b["frr"]["n"]) == (1, 5, 1, 5)
    assert a["far"]["value"] == pytest.approx(1 / 3) and a["far"]["low"] <= 1 / 3 <= a["far"]["high"]
    grid = rates.table(found)
    assert "1 of 5" in grid.rows[-1][4].note or "1 of 3" in grid.rows[-1][4].note
    assert rates.by_value(MATCH, odds(SCORES), SAME, {}, 0) == {}


def test_other_tasks_have_no_threshold() -> None:
    task = Classification.fit(OfClasses(), [("a",), ("b",)], ["y"])
    assert rates.by_value(task, odds(SCORES), SAME, {"site": SITE}, 0) == {}


def test_pairs_of_rows_that_touch_a_value_count_for_identities() -> None:
    angles = torch.tensor([0.0, 0.1, 1.0, 1.1, 0.05, 2.0])
    vectors = torch.stack([angles.cos(), angles.sin()], 1)
    task = Identify(OfIdentities(), [f"p{n}" for n in range(6)], 2, 2, "eer")
    outputs = Embedded(vectors, vectors[:1], torch.tensor([0]), torch.tensor(math.cos(0.5)))
    targets = torch.tensor([2, 2, 3, 3, 4, 4])
    x, y = sorted(
        rates.by_value(task, outputs, targets, {"site": ["x", "x", "x", "x", "y", "y"]}, 0)["values"],
        key=lambda own: own["value"],
    )
    # Rows 5 and 6 are one person far apart: refused. Row 5 is accepted with rows 1 and 2 of another.
    assert (y["frr"]["wrong"], y["frr"]["n"], y["far"]["wrong"], y["far"]["n"]) == (1, 1, 2, 8)
    assert (x["frr"]["wrong"], x["frr"]["n"], x["far"]["wrong"], x["far"]["n"]) == (0, 2, 2, 12)


def test_worst_and_best_are_said_beyond_noise_alone() -> None:
    def value(name: str, low: float, at: float, high: float, rows: int = 20) -> dict[str, object]:
        return {"column": "site", "value": name, "rows": rows, "eer": {"value": at, "low": low, "high": high, "n": rows}}

    apart = [value("a", 0.0, 0.1, 0.2), value("b", 0.3, 0.4, 0.5), value("few", 0.8, 0.9, 1.0, rows=3)]
    (said,) = rates.said({"values": apart}, "report.html")
    assert "worst for b (0.400 [0.300, 0.500] on 20 rows) and best for a (0.100 [0.000, 0.200] on 20 rows)" in said
    assert "report.html" in said and "few" not in said
    (said,) = rates.said({"values": [apart[0], value("c", 0.1, 0.3, 0.5), value("d", math.nan, math.nan, math.nan)]}, "x")
    assert "no value is worse than another in EER beyond noise" in said
    assert rates.said({}, "x") == []


def test_slices_of_one_kind_of_pair_are_told_by_their_own_error() -> None:
    own = dataset(
        torch.zeros(16, 1),
        ["test"] * 16,
        task=MATCH,
        targets=SAME,
        cells=[("yes" if same else "no",) for same in SAME.tolist()],
    )
    found = {(s.kind, s.name): s for s in trust.slices(own, torch.arange(16), odds(SCORES), {"site": SITE}, 0)}
    assert (found["class", "no"].metric, found["class", "no"].score.value) == ("far", 0.25)
    assert (found["class", "yes"].metric, found["class", "yes"].score.value) == ("frr", 0.25)
    assert found["site", "b"].metric == "" and not math.isnan(found["site", "b"].score.value)
    told = [slice_.as_dict() for slice_ in found.values()]
    grid = tables.slices(told, "auroc", True)
    assert [row[3].value for row in grid.rows][-2:] == ["FAR 0.250", "FRR 0.250"]
    assert all(row[3].value != "–" for row in grid.rows)
    assert {own["kind"] for own in tables.weakest(told, True)} == {"site"}
