"""What a person reads while a stage runs: notes, warnings, tables and progress, all on stderr. stdout is for data."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import rich.box
from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

LOG_EVERY_S = 20.0
"""Seconds between lines about progress where there is no terminal to draw a bar on."""


class Console:
    """Speaks on stderr; says only warnings when quiet. Progress bars show on terminals alone."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._rich = RichConsole(stderr=True, highlight=False)
        if not self._rich.is_terminal:
            self._rich.width = 140  # a log has no edge; rich would take 80

    def note(self, text: str) -> None:
        """Something that was done or found."""
        if not self.quiet:
            self._rich.print(escape(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Something that the user should look at."""
        self._rich.print(f"[yellow]warning:[/] {escape(text)}", soft_wrap=True)

    @contextmanager
    def drawing(self, what: str) -> Iterator[None]:
        """Work whose failure is told and ends nothing: a plot is no result."""
        try:
            yield
        except Exception as error:  # whatever a plotting library makes of names and numbers
            said = " ".join(f"{error}".split())[:200]
            self.warn(f"{what} could not be drawn ({type(error).__name__}: {said}); all else is there")

    def next_step(self, text: str) -> None:
        """What to run or look at now: the last line."""
        if not self.quiet:
            self._rich.print(f"[bold green]next:[/] {escape(text)}", soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
        """A table; every column but the first holds figures, unless its name starts with a blank."""
        if self.quiet:
            return
        table = Table(title=escape(title) or None, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
        for i, name in enumerate(columns):
            table.add_column(escape(name.strip()), justify="left" if i == 0 or name.startswith(" ") else "right")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self._rich.print(table)

    @contextmanager
    def progress(self, label: str, total: int, done: int = 0) -> Iterator[Advance]:
        """A bar with count, rate (in the text given) and time left; in a log, a line now and then instead."""
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            console=self._rich,
            transient=True,
            disable=self.quiet or not self._rich.is_terminal,
        )
        with bar:
            task = bar.add_task(escape(label), total=total, completed=done, said="")
            yield Advance(self, bar, task, None if self._rich.is_terminal else label, done)


class Advance:
    """Moves a progress bar."""

    def __init__(self, console: Console, bar: Progress, task: TaskID, label: str | None, done: int) -> None:
        self._console = console
        self._bar = bar
        self._task = task
        self._label = label
        self._done = done
        self._spoke_at = time.monotonic()

    def advance(self, said: str = "", steps: int = 1) -> None:
        """So many steps further, with something to say beside the bar."""
        self._bar.update(self._task, advance=steps, said=escape(said))
        self._done += steps
        if self._label is not None and time.monotonic() - self._spoke_at >= LOG_EVERY_S:
            total = self._bar.tasks[self._task].total or 0
            self._console.note(f"{self._label}: {self._done:,} of {total:,.0f}; {said}")
            self._spoke_at = time.monotonic()
