"""What the report says of the trials, and of where texts differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmcli.proof import differences, trials
from mmcli.proof.verdict import looked_at
from mmcli.reporting import html, text_metrics
from mmcli.tasks import regression
from mmcli.tasks.text import Config, Text


def gain(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high, "n": 60}


def point(share: float, score: float, added: dict[str, float]) -> dict[str, Any]:
    less = gain(score - added["value"], 0, 1)
    told = {"score": gain(score, score - 1, score + 1), "without": {"picture": {"score": less, "gain": added}}}
    return {"share": share, "words": 100, "hidden": round(100 * share), **told}


HELPS, LEVEL = gain(4.1, 1.2, 7.0), gain(0.2, -1.0, 1.4)


def test_the_verdict_says_where_another_input_helps() -> None:
    masked = {"masked_source": {"name_en": [point(0.0, 60, LEVEL), point(0.3, 50, LEVEL), point(0.5, 40, HELPS)]}}
    assert looked_at(masked, "chrf") == (
        " picture helps where 50% of the words of name_en are hidden (chrF 4.100 better [+1.200, +7.000]); with all words of "
        "name_en it does not help beyond noise (chrF 0.200 better [-1.000, +1.400])."
    )
    both = {"masked_source": {"name_en": [point(0.0, 60, HELPS), point(0.5, 40, HELPS)]}}
    assert "and with all words of name_en too (chrF 4.100 better" in looked_at(both, "chrf")
    only_whole = {"masked_source": {"name_en": [point(0.0, 60, HELPS), point(0.5, 40, LEVEL)]}}
    assert looked_at(only_whole, "chrf").startswith(" picture helps with all words of name_en (chrF 4.100 better")
    harms = {"masked_source": {"name_en": [point(0.0, 60, gain(-3, -5, -1)), point(0.5, 40, gain(0, 0, 0))]}}
    assert looked_at(harms, "chrf") == (
        " picture does not help beyond noise where 50% of the words of name_en are hidden (chrF level [0.000, 0.000]), and "
        "with all words of name_en it harms (chrF 3.000 worse [-5.000, -1.000])."
    )
    assert looked_at({}, "chrf") == "" == looked_at({"noise_curve": {"image": {"blur": [{"level": 0, "score": 1}]}}}, "chrf")


def test_the_verdict_of_sound_is_told_at_its_loudest_noise() -> None:
    added = {None: LEVEL, 20: LEVEL, -5: HELPS}
    curve = [
        {"level": 0.0, "score": 0.1, **({} if db is None else {"db": db}), "without": point(0, 0, own)["without"]}
        for db, own in added.items()
    ]
    test = {"noise_curve": {"sound": {"background noise": curve}}}
    assert "picture helps with sound in white noise at -5 dB (wer 4.100 better" in looked_at(test, "wer").replace("WER", "wer")
    (drawn, caption) = trials.noise(test, "wer")[0]
    assert caption == "sound in background noise; without any, 0.100."
    assert "without picture" in drawn.standalone() and "at -20" in drawn.standalone() and "at 5" in drawn.standalone()


def test_what_hides_words_is_drawn_with_its_differences() -> None:
    test = {"masked_source": {"<b>": [point(0.0, 60, LEVEL), point(0.5, 40, HELPS)]}}
    (drawn, caption) = trials.hidden(test, "chrf")[0]
    assert "What picture adds, in pairs: +0.200 [-1.000, +1.400] at 0%, +4.100 [+1.200, +7.000] at 50%." in caption
    assert "without picture: 35.900 at 0.5" in drawn.standalone()


def test_tables_say_whether_an_input_is_looked_at() -> None:
    found = trials.incongruent(
        {
            "incongruent": {
                "image": {"rows": 60, "score": gain(50, 45, 55), "gain": HELPS},
                "x": {"score": HELPS, "gain": LEVEL},
            }
        },
        "chrf",
    )
    assert [[str(cell) for cell in row][-1] for row in found.rows] == ["yes", "not beyond noise"]
    assert str(found.rows[0][2]) == "+4.100 [+1.200, +7.000]"
    (said,) = trials.contrast({"contrast": {"wrong": {**gain(0.75, 0.5, 1.0), "ties": 2}}})
    assert said.startswith("The right text is likelier than the one in wrong in 75.0% of 60 test rows")
    assert "2 rows are level and count half" in said


RIGHT = ["the <b>cat</b> sat", "one two three", "same"]
WRITTEN = ["the <i>dog</i> sat & slept", "two four", "same"]


def test_differences_are_pieces_in_the_order_of_the_text() -> None:
    task = Text.fit(Config(units="char"), [(text,) for text in [*RIGHT, *WRITTEN]], ["t"])
    targets = task.encode([(text,) for text in RIGHT])
    outputs = task.spelled(WRITTEN, targets)
    found = differences.pieces(task, outputs, targets)
    assert found[0] == [
        ("equal", "the", "the"),
        ("substitute", "<i>dog</i>", "<b>cat</b>"),
        ("equal", "sat", "sat"),
        ("insert", "& slept", None),
    ]
    assert differences.plain(found[1]) == "[-one-] two [-three-]{+four+}"
    assert found[2] == [("equal", "same", "same")]
    for own, written, right in zip(found, WRITTEN, RIGHT, strict=True):
        assert " ".join(one for _, one, _ in own if one) == written
        assert " ".join(other for _, _, other in own if other) == right
    grid = differences.substitutions(task, outputs, targets)
    assert grid is not None
    assert {tuple(map(str, row)) for row in grid.rows} == {("<b>cat</b>", "<i>dog</i>", "1"), ("three", "four", "1")}
    assert differences.between(task, outputs, targets) == " "
    numbers = regression.Regression.fit(regression.Config(), [("1",), ("2",)], ["y"])
    values = numbers.encode([("1",), ("2",)])
    assert differences.pieces(numbers, values[:, None], values) == [[], []]
    assert differences.between(numbers, values[:, None], values) is None


def test_differences_are_escaped_in_the_page() -> None:
    steps = text_metrics.pieces(text_metrics.alignment(WRITTEN[0].split(), RIGHT[0].split()), " ")
    module = html.environment("report.html.j2").get_template("differences.html.j2").module
    said = str(module.differences(steps, " "))  # type: ignore[attr-defined]
    assert "<del>&lt;b&gt;cat&lt;/b&gt;</del><ins>&lt;i&gt;dog&lt;/i&gt;</ins>" in said
    assert '<ins class="extra">&amp; slept</ins>' in said
    assert "<b>" not in said and "<i>" not in said
    assert np.all([said.count(tag) == 2 for tag in ("<ins", "</ins>")])
