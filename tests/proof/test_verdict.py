"""The paragraph says what the figures say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmcli.jobs import deciding
from mmcli.proof import finding
from mmcli.proof.members import mostly, shares, told
from mmcli.proof.report import Entry
from mmcli.proof.verdict import Rival, outdone, verdict
from mmcli.reporting.metrics import Interval
from mmcli.stages.evaluate.concluding import beaten, before, rival_of


def entry(kind: str, name: str, value: float) -> Entry:
    return Entry(kind, name, torch.empty(0), "", {"macro_f1": Interval(value, value - 0.05, value + 0.05, 146)})


SINGLE, FUSED = entry("column", "photo", 0.85), entry("fused", "gated", 0.93)
LINEAR = replace(entry("baseline", "linear", 0.80), what="a linear model on the same inputs")
BETTER = Interval(0.1, 0.02, 0.2, 146)


def said(top: Entry, over_column: Interval, over_fused: Interval | None = None, over_linear: Interval = BETTER) -> str:
    gains = {"best_column": over_column, "linear": over_linear}
    gains |= {} if over_fused is None else {"fused": over_fused}
    return verdict(top, SINGLE, LINEAR, FUSED if over_fused else None, gains, "macro_f1")


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        (
            Interval(0.1, 0.02, 0.2, 146),
            "It beats the cosine of the columns as they are, the fair rival (+0.100 [+0.020, +0.200])",
        ),
        (Interval(0.05, -0.01, 0.1, 146), "It is ahead, but within the noise of so few rows, of the cosine"),
        (Interval(0.0, -0.01, 0.01, 146), "It is no better than the cosine"),
        (Interval(-0.1, -0.2, -0.02, 146), "It is worse than the cosine of the columns as they are, the fair rival (-0.100 ["),
    ],
)
def test_pairs_are_held_against_the_cosine_in_pairs(gain: Interval, expected: str) -> None:
    cosine = replace(entry("baseline", "cosine", 0.80), what="how alike the columns are as they are")
    told = verdict(FUSED, SINGLE, cosine, None, {"best_column": BETTER, "cosine": gain}, "macro_f1")
    assert expected in told and "as good or better" not in told


def test_beyond_noise_within_it_and_not_at_all() -> None:
    helps = said(FUSED, Interval(0.08, 0.02, 0.14, 146))
    assert helps.startswith(
        "On 146 test rows the fused model reaches macro F1 0.930 [0.880, 0.980]; the best single input, photo"
    )
    assert "Fusing helps (0.080 better, 95% interval +0.020 to +0.140 in macro F1" in helps
    assert "within the noise" in said(FUSED, Interval(0.02, -0.01, 0.05, 146))
    assert "linear model does" not in helps and "all that is needed" not in helps
    fails = said(FUSED, Interval(-0.02, -0.05, 0.01, 146), over_linear=Interval(-0.03, -0.06, -0.01, 146))
    assert "Fusing does not help here (0.020 worse, 95% interval -0.050 to +0.010" in fails
    assert "use photo alone" in fails
    assert "The linear model is better (difference -0.030 [-0.060, -0.010])" in fails and "all that is needed" not in fails


@pytest.mark.parametrize("gain", [Interval(0.003, -0.012, 0.018, 146), Interval(-0.003, -0.012, 0.0, 146)])
def test_where_a_linear_model_does_as_well_within_noise_it_is_all_that_is_needed(gain: Interval) -> None:
    sign = "+" if gain.value > 0 else "-"
    told = said(FUSED, Interval(0.08, 0.02, 0.14, 146), over_linear=gain)
    assert f" A linear model on the same inputs does as well (difference {sign}0.003 [-0.012, " in told
    assert "]): where simplicity counts, it is all that is needed." in told
    assert "as good or better" not in told


def test_a_linear_model_that_is_well_behind_though_within_noise_is_not_called_as_good() -> None:
    told = said(FUSED, Interval(0.3, 0.1, 0.5, 47), over_linear=Interval(0.128, -0.021, 0.277, 47))
    said_so = "is behind (difference +0.128 [-0.021, +0.277]), but within the noise of so few rows."
    assert told.endswith(f" A linear model on the same inputs {said_so}")


def test_of_a_baseline_that_is_no_linear_model_and_of_no_number_it_is_not_said() -> None:
    other, near = entry("baseline", "copy", 0.9), Interval(0.01, -0.05, 0.05, 9)
    told = verdict(FUSED, SINGLE, other, None, {"best_column": BETTER, "copy": near}, "macro_f1")
    assert "all that is needed" not in told
    nan = float("nan")
    assert "all that is needed" not in said(FUSED, BETTER, over_linear=Interval(nan, nan, nan, 9))


MAJORITY = replace(entry("baseline", "majority", 0.9), what="always saying the commonest class of train, whatever the inputs")


def test_where_nothing_beats_the_constant_baseline_that_comes_first_and_nothing_is_recommended() -> None:
    over = {"best_column": BETTER, "linear": Interval(0.0, -0.1, 0.1, 146), "majority": Interval(-0.02, -0.1, 0.05, 146)}
    told = verdict(FUSED, SINGLE, LINEAR, None, over, "macro_f1", unbeaten=MAJORITY)
    assert told.startswith(
        "Nothing here is better, beyond noise, than always saying the commonest class of train, whatever the inputs (the "
        "baseline majority: macro F1 0.900 [0.850, 0.950]): not the model (0.020 worse, 95% interval -0.100 to +0.050), no "
        "input alone and no other baseline. Give more rows, or other inputs. On 146 test rows the fused model reaches"
    )
    assert "Fusing" not in told and "use photo" not in told and "all that is needed" not in told


def test_of_columns_that_belong_together_chance_comes_first_where_nothing_beats_it() -> None:
    chance = replace(entry("baseline", "chance", 0.9), what="vectors drawn at random, whatever the cells")
    over = {"linear": BETTER, "chance": Interval(0.0, -0.1, 0.1, 146)}
    told = finding.verdict(FUSED, LINEAR, over, "macro_f1", {}, chance)
    assert (
        told.startswith("Nothing here is better, beyond noise, than vectors drawn at random") and "beyond noise (" not in told
    )
    assert finding.verdict(FUSED, LINEAR, over, "macro_f1", {}).endswith(
        "It is better beyond noise (0.100 better, 95% interval +0.020 to +0.200)."
    )


@pytest.mark.parametrize(
    ("gain", "others", "expected"),
    [(0.1, 0.0, True), (0.0, 0.0, False), (0.0, 0.1, True), (-0.1, -0.1, False), (float("nan"), 0.0, True)],
)
def test_the_constant_baseline_is_beaten_by_the_model_an_input_or_another_baseline(
    gain: float, others: float, expected: bool
) -> None:
    asked: list[Any] = []

    def over(one: Any, other: Any, *_: Any) -> Interval:
        asked.append((one, other))
        return Interval(others, others, others, 9)

    rows = SimpleNamespace(
        splits={"test": torch.arange(2)}, targets=torch.arange(2), groups=lambda _: None, task=SimpleNamespace(gain=over)
    )
    case: Any = SimpleNamespace(dataset=rows, context=SimpleNamespace(seed=0))
    absent = replace(SINGLE, kind="without")
    assert beaten([FUSED, SINGLE, MAJORITY, absent], MAJORITY, Interval(gain, gain, gain, 9), case) is expected
    assert asked == ([] if gain > 0 or gain != gain else [(SINGLE.outputs, MAJORITY.outputs)])


@pytest.mark.parametrize(
    ("gain", "what"),
    [
        (Interval(0.0, 0.0, 0.0, 146), "is no worse than the model beyond noise (difference 0.000 [0.000, 0.000])"),
        (Interval(0.02, -0.01, 0.05, 146), "is no worse than the model beyond noise (difference +0.020 [-0.010, +0.050])"),
        (Interval(-0.2, -0.3, -0.1, 146), "is better than the model (difference -0.200 [-0.300, -0.100])"),
    ],
)
def test_what_a_baseline_reads_out_of_one_input_counts_as_what_that_input_gives(gain: Interval, what: str) -> None:
    over = {"best_column": BETTER, "linear": BETTER}
    plain = Rival(entry("baseline", "nearest:clip", 0.93), "clip", gain)
    told = verdict(FUSED, SINGLE, LINEAR, None, over, "macro_f1", rival=plain)
    much = "more" if gain.high < 0 else "as much"
    assert (
        f"clip alone gives {much}: the baseline nearest:clip reads nothing else, has macro F1 0.930 [0.880, 0.980], and "
        f"{what}. Fusing is not shown to help. Over the model of photo it is 0.100 better" in told
    )
    assert "Fusing helps" not in told
    ahead = Rival(plain.entry, "clip", BETTER)
    assert "Fusing helps (0.100 better" in verdict(FUSED, SINGLE, LINEAR, None, over, "macro_f1", rival=ahead)


@pytest.mark.parametrize(("nearest", "trees", "expected"), [(0.9, 0.8, "nearest:clip"), (0.86, 0.88, "trees"), (0.8, 0.84, "")])
def test_the_best_baseline_of_one_input_stands_against_the_model_where_it_is_better_than_each_input(
    nearest: float, trees: float, expected: str
) -> None:
    kinds = {"clip": "frames", "form": "fields"}
    task = SimpleNamespace(constant_name="majority", primary_metric="macro_f1", primary_higher_is_better=True)
    rows = SimpleNamespace(task=task, input=lambda name: SimpleNamespace(spec=SimpleNamespace(kind=kinds[name])))
    case: Any = SimpleNamespace(dataset=rows, columns=kinds)
    plain = [entry("baseline", "nearest:clip", nearest), entry("baseline", "trees", trees), entry("baseline", "linear", 0.99)]
    paired = {own.name: {"gain": BETTER.as_dict()} for own in plain}
    found = rival_of([FUSED, SINGLE, *plain], case, paired)
    assert (found.entry.name if found else "") == expected
    assert found is None or (found.input, found.gain) == ({"trees": "form"}.get(expected, "clip"), BETTER)
    case.columns = {"clip": "frames"}
    assert rival_of([FUSED, SINGLE, *plain], case, paired) is None


def test_what_optimizing_lost_is_told() -> None:
    top = entry("optimized", "optimized", 0.84)
    lost = said(top, Interval(-0.01, -0.05, 0.03, 146), Interval(-0.09, -0.12, -0.03, 146))
    assert "Fusing does not help" not in lost, "it did, before"
    assert "Before it was optimized, the model reaches 0.930" in lost
    assert "take it with --model, from fusions/gated under the artifacts" in lost
    noise = said(top, Interval(0.03, 0.01, 0.06, 146), Interval(-0.01, -0.03, 0.02, 146))
    assert "Fusing helps" in noise
    assert "(0.010 worse, 95% interval -0.030 to +0.020), which is within noise." in noise
    assert "Before" not in said(top, Interval(0.03, 0.01, 0.06, 146), Interval(0.0, -0.01, 0.01, 146))


@pytest.mark.parametrize(("picked", "spoken"), [("fused", False), ("fused, int8", True), ("tuned", True)])
def test_of_before_is_not_spoken_where_the_picked_model_is_the_fused_one(picked: str, spoken: bool) -> None:
    case: Any = SimpleNamespace(best=SimpleNamespace(metrics={"picked": picked}, manifest={"kind": "optimized"}))
    top = entry("optimized", "optimized", 0.92)
    assert (before([top, FUSED, SINGLE], case) is FUSED) is spoken
    case.best.manifest["kind"] = "fusion"
    assert before([FUSED, SINGLE], case) is None


def test_a_tie_is_called_a_tie() -> None:
    level = said(FUSED, Interval(0.0, -0.02, 0.02, 146), over_linear=Interval(0.0, -0.02, 0.02, 146))
    assert "Fusing is level with that input (difference 0.000 [-0.020, +0.020] in macro F1, same rows for both): use" in level
    assert "does as well (difference 0.000 [-0.020, +0.020])" in level and level.count("level") == 1
    assert "as good or better" not in level and "-0.000" not in level and "0.000 better" not in level
    near = said(FUSED, Interval(0.0001, -0.02, 0.02, 146), over_linear=Interval(-0.0002, -0.0003, -0.0001, 146))
    assert "(less than 0.001 better, 95% interval -0.020 to +0.020" in near
    assert "as good or better (by less than 0.001)" in near


def test_what_got_worse_by_other_measures_is_told() -> None:
    gains = {"best_column": Interval(0.08, 0.02, 0.1, 9), "linear": Interval(-0.1, -0.2, 0, 9), "fused": Interval(0, 0, 0, 9)}
    worse = {"fused": ["log loss 0.520 instead of 0.271", "ECE 0.350 instead of 0.050"], "best_column": [], "linear": ["x"]}
    found = verdict(entry("optimized", "optimized", 0.9), SINGLE, LINEAR, FUSED, gains, "macro_f1", worse)
    assert found.endswith(
        " It was picked by macro F1; by other measures it is worse: log loss 0.520 instead of 0.271 and ECE 0.350 instead of "
        "0.050 before it was optimized."
    )
    assert "by other measures" not in verdict(FUSED, SINGLE, LINEAR, None, gains, "macro_f1", {"linear": ["x"]})


def test_of_one_input_nothing_is_said_of_fusing() -> None:
    gains = {"best_column": Interval(0.1, 0.05, 0.15, 146), "linear": Interval(0.2, 0.1, 0.3, 146)}
    told = verdict(FUSED, SINGLE, LINEAR, None, gains, "macro_f1", alone=True)
    assert "There is but one input, so nothing to fuse: the model is that input's, trained on or run another way (0.1" in told
    gains["best_column"] = Interval(0.0, 0.0, 0.0, 146)
    same = verdict(FUSED, SINGLE, LINEAR, None, gains, "macro_f1", alone=True)
    assert "the model is that input's. " in f"{same} "
    assert "Fusing" not in told


def test_the_best_baseline_is_named_where_it_is_ahead_of_the_model_and_of_the_one_it_is_held_against() -> None:
    worse, less = Interval(-0.4, -0.5, -0.3, 60), Interval(-0.2, -0.3, -0.1, 60)
    told = outdone({"nearest": less, "nearest:clip": worse, "medoid": Interval(0.1, 0.0, 0.2, 60)}, "nearest")
    assert told == " Of all baselines nearest:clip is the best, and better than the model (difference -0.400 [-0.500, -0.300])."
    assert outdone({"nearest": worse, "nearest:clip": less}, "nearest") == ""
    assert outdone({"linear": Interval(0.1, 0.0, 0.2, 60), "nearest": Interval(-0.1, -0.3, 0.1, 60)}, "linear") == ""


def test_what_counts_most_beside_f_is_told() -> None:
    said = mostly({"beside": {"share": 0.9}, "recall": {"share": 0.95}})
    assert said == (
        " What counts most in the fused model (95%) is known texts of train, recited where they fit, not what F makes of its "
        "columns."
    )
    nested = {"plain": {"share": 0.6}, "trees": {"share": 0.45}}  # joined after it: .33 are left of the first
    assert mostly(nested) == ""
    assert "(60%) is boosted trees" in mostly({"plain": {"share": 0.6}, "trees": {"share": 0.6}})
    assert mostly({"beside": {"share": 0.9}, "recall": {"share": 0.4}, "seconds": 3.0}) == ""


def test_fuse_tells_the_shares_that_are_left_in_the_model() -> None:
    """As the heads are averaged: by the shares of those that were there before, times what the next one leaves."""
    joined = {"val": {}, "beside": {"share": 0.5}, "plain": {"share": 0.6}, "trees": {"share": 0.7}}
    averaged: Sequence[float] = [1.0]
    for own in (0.5, 0.6, 0.7):
        averaged = deciding.shares(averaged, deciding.Beside(own, 1.0, 0.1))
    found = shares(joined)
    assert [found[key] for key in ("beside", "plain", "trees")] == pytest.approx(averaged[1:])
    assert [line.rpartition(" ")[2] for line in told(joined)] == ["6%", "18%", "70%"], "in the order of joining"
    assert "(70%) is boosted trees over the form" in mostly(joined)
    assert list(told({"recall": {"share": 0.4}})) == [
        "known texts of train, recited where they fit, weighed on val, counts 40%"
    ]
