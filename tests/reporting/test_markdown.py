"""A cell of Markdown shows just what it was, read by a parser of Markdown."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from mmcli.reporting import markdown
from mmcli.reporting.grid import Cell, Grid

WILD = [
    "plain",
    "a|b",
    "`code`",
    "*bold* _it_ __x__ ~~gone~~",
    "<b>html</b> <script>alert(1)</script>",
    "[a](http://x) ![p](y)",
    "back\\slash \\| \\",
    "&amp; &lt; AT&T",
    "# heading",
    "- item",
    "+ item",
    "> quote",
    "1. first",
    "12) twelfth",
    "---",
    "===",
    "~~~",
    "$x_$ and $y$",
    "a_b_c",
    "标签，好",
    ":--",
    "``` fence",
]


def inline_texts(source: str) -> list[str]:
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    assert not [token for token in tokens if token.type in {"html_block", "fence", "code_block", "hr"}], source
    found = []
    for token in tokens:
        if token.type == "inline":
            kinds = {child.type for child in token.children or []}
            assert kinds <= {"text", "text_special", "softbreak"}, (source, kinds)
            found.append("".join(child.content for child in token.children or []))
    return found


@pytest.mark.parametrize("text", WILD)
def test_it_is_what_it_was_in_a_paragraph_a_list_and_a_table(text: str) -> None:
    assert inline_texts(markdown.escaped(text)) == [text]
    assert inline_texts(f"- {markdown.escaped(text)}\n") == [text]
    assert inline_texts(markdown.table_of([text, "b"], [["c", text]])) == [text, "b", "c", text]


def test_lines_are_joined_and_controls_are_marked() -> None:
    assert markdown.escaped("a\nb\r\nc\u2028d\te") == "a b c d e"
    assert markdown.escaped("a\x00b\x1b[0m") == "a\ufffdb\ufffd\\[0m"
    assert inline_texts(markdown.table_of(["a"], [["x\n| y |"]])) == ["a", "x | y |"]


def test_a_fence_is_longer_than_what_it_holds() -> None:
    block = markdown.code_block(["a ``` b", "c"])
    (token,) = MarkdownIt("commonmark").parse(block)
    assert token.content == "a ``` b\nc\n"


def test_a_grid_writes_notes_beside_values() -> None:
    grid = Grid.of("", ["model", "score"], [["a|b", Cell("0.9", "0.8 – 1.0")]])
    assert grid.markdown().splitlines() == ["| model | score |", "| --- | --- |", "| a\\|b | 0.9 (0.8 – 1.0) |"]


def test_a_grid_is_stacked_where_a_narrow_page_has_no_room_for_it() -> None:
    assert not Grid.of("", ["class", "rows", "precision", "recall", "F1"], [["a", "12", "0.123", "0.123", "0.123"]]).is_stacked
    cells = [Cell("0.9", "0.888 – 0.999")] * 4
    assert Grid.of("", ["model", "a", "b", "c", "d"], [["m", *cells]]).is_stacked
    first, more = Grid.of("", ["a"], [["1"], ["2"], ["3"]]).parts(2)
    assert [len(first.rows), len(more.rows) if more else 0] == [2, 1]
    assert Grid.of("", ["a"], [["1"]]).parts(2)[1] is None


def test_a_long_word_in_a_head_may_be_broken() -> None:
    assert Grid.of("", ["class", "MAE of a_very_long_target_name", "precision"], [["a", "b", "c"]]).long_heads == {1}
