"""The report of a table whose names are all that names can be: valid, escaped, whole, and readable on any screen."""

from __future__ import annotations

import json
import random
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from mmcli.cli import app
from mmcli.stages import evaluate
from tests.conftest import ENCODERS, shared, write_csv

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CLASSES = ["=cmd|'/C calc'!A0", "<b>bold</b> & `code` 标签", "long " * 12 + "end"]
SIZE, WORD = "si|ze <i>$x_$</i>", "`word`\n*文字*"


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evaluation of 90 rows: a number nearly tells the class, a word does not."""
    return shared(tmp_path_factory, "wild", _evaluate) / "artifacts" / "evaluation"


def _evaluate(folder: Path) -> None:
    drawn = random.Random(0)
    rows = []
    for number in range(90):
        split = ("train", "train", "val", "test")[number // 3 % 4]
        size = f"{number % 3 + drawn.gauss(0, 0.5):.3f}"
        rows.append([f"<r|{number}>", size, f"word {drawn.choice('abc')}", split, CLASSES[number % 3]])
    table = write_csv(folder / "da`ta|1.csv", ["id", SIZE, WORD, "split", "cla|ss"], rows)
    arguments = ["run", str(table), "-t", "cla|ss", "-a", str(folder / "artifacts"), "--no-optimize", "--each", *ENCODERS]
    result = CliRunner().invoke(app, [*arguments, "--threads", "1", "--set", "training.epochs=6"], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def page(evaluation: Path) -> str:
    return (evaluation / evaluate.REPORT).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def card(evaluation: Path) -> str:
    return (evaluation / evaluate.CARD).read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Headings, anchors, and elements that are open at the end."""

    VOID = frozenset({"meta", "link", "br", "img", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.levels.append(int(tag[1]))
            self.ids += [found["id"] or ""] if "id" in found else []
        if tag == "a":
            self.targets.append((found["href"] or "").removeprefix("#"))
        if tag == "img":
            assert found.get("alt")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    return found


def test_the_page_is_well_formed_and_its_contents_lead_to_every_section(page: str) -> None:
    found = outline(page)
    assert found.open == []
    assert found.targets == found.ids, "the contents list every section, in order"
    assert {"leaderboard", "right", "classes", "inputs", "missing", "errors", "data", "training", "next", "made"} <= set(
        found.ids
    )
    assert "optimizing" not in found.ids, "nothing was optimized"
    assert found.levels[:2] == [1, 2]
    assert all(after - before <= 1 for before, after in zip(found.levels, found.levels[1:], strict=False))


def test_no_name_becomes_markup(page: str) -> None:
    found = outline(page)
    assert not found.tags & {"script", "b-", "object", "iframe"}
    assert "<i>$x_$</i>" not in page
    assert "<b>bold</b>" not in page
    assert "<b>bold</b> & `code` 标签" in "".join(found.text)
    assert "http://" not in page and "https://" not in page


def test_rows_are_named_by_their_id(page: str, evaluation: Path) -> None:
    text = "".join(outline(page).text)
    errors = json.loads((evaluation / evaluate.METRICS).read_text())["trust"]["errors"]
    assert errors
    for row, said in errors:
        assert f"id <r|{row - 1}>: {said}" in text


def test_how_it_was_made_is_told(page: str) -> None:
    text = "".join(outline(page).text)
    assert re.search(r"\d+ cores, \d+ GB memory, .*GPU", text)
    assert "torch 2." in text
    assert "mmcli predict NEW.csv -o predictions.csv -a " in text
    assert "mmcli optimize -a " in text
    for said in ("AUROC", "ECE", "McNemar", "EMAP", "Shapley"):
        assert said in text
    assert "how often a row of a class gets more of its probability" in text


def test_the_classes_table_is_what_the_predictions_say(evaluation: Path) -> None:
    import pandas as pd

    frame = pd.read_parquet(evaluation / evaluate.PREDICTIONS)
    found = json.loads((evaluation / evaluate.METRICS).read_text())["classes"]
    assert [own["name"] for own in found] == sorted(name.strip() for name in CLASSES)
    for own in found:
        right, chosen = frame["cla|ss"].str.strip() == own["name"], frame["cla|ss_predicted"].str.strip() == own["name"]
        assert (own["rows"], own["predicted"]) == (right.sum(), chosen.sum())
        assert own["recall"] == pytest.approx((right & chosen).sum() / right.sum())


def test_the_card_is_valid_markdown_whose_cells_are_the_names(card: str) -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(card)
    assert not [token for token in tokens if token.type in {"html_block", "hr"}]
    rows: list[list[str]] = []
    for place, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        if token.type in {"th_open", "td_open"}:
            children = tokens[place + 1].children or []
            assert {child.type for child in children} <= {"text", "text_special"}, tokens[place + 1].content
            rows[-1].append("".join(child.content for child in children))
    cells = {cell for row in rows for cell in row}
    assert {" ".join(SIZE.split()), " ".join(WORD.split()), CLASSES[0], CLASSES[1]} <= cells
    headings = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[0] == "Predicting cla\\|ss"
    assert {"Model", "Data", "Test scores", "Each class", "What to do next", "How it was made"} <= set(headings)


@pytest.fixture(scope="module")
def browser() -> Any:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def test_no_sideways_scrolling_and_no_errors_on_any_screen(browser: Any, evaluation: Path) -> None:
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
            shown, said = context.new_page(), []
            shown.on("console", lambda message, said=said: said.append(message.text))
            shown.on("pageerror", lambda error, said=said: said.append(str(error)))
            shown.goto((evaluation / evaluate.REPORT).as_uri())
            widths = shown.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert widths == [width, width], (width, scheme)
            assert said == []
            context.close()


def test_texts_keep_the_page_s_size_in_every_drawing(browser: Any, evaluation: Path) -> None:
    for width in (390, 1280):
        context = browser.new_context(viewport={"width": width, "height": 800})
        shown = context.new_page()
        shown.goto((evaluation / evaluate.REPORT).as_uri())
        sizes = shown.evaluate(
            """() => [...new Set([...document.querySelectorAll('svg text')].map(
                 text => getComputedStyle(text).fontSize + ' x ' + text.getScreenCTM().a.toFixed(2)))]"""
        )
        assert sizes == ["14px x 1.00"]
        context.close()
