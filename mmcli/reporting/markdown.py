"""Text of others inside Markdown: names, cells and commands that stay what they are and never become markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LEADING = re.compile(r"^(#{1,6}(?=\s|$)|[-+=](?=\s|$|[-+= ]+$)|~{3}|:(?=[-:]))|^(\d{1,9})([.)])(?=\s|$)")


def escaped(text: object) -> str:
    """One line of Markdown that shows just this text, in a paragraph, a list or a table's cell."""
    line = " ".join(str(text).split())
    line = "".join(char if char.isprintable() else "\ufffd" for char in line)
    line = re.sub(r"[\\`*_\[\]|~$]", r"\\\g<0>", line)
    line = re.sub(r"[&<>]", lambda found: _ENTITIES[found[0]], line)
    return _LEADING.sub(lambda found: f"\\{found[1]}" if found[1] else f"{found[2]}\\{found[3]}", line)


def code_block(lines: Sequence[str]) -> str:
    """Lines as they are, in a fence longer than any that they hold."""
    text = "\n".join(" ".join(str(line).splitlines()) for line in lines)
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}\n{text}\n{fence}"


def table_of(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A table whose every cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(str(cell) if place == 1 else escaped(cell) for cell in line)} |" for place, line in enumerate(lines)
    )
