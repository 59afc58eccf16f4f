"""What a person reads while a stage runs: notes, warnings, tables and progress, all on stderr. stdout is for data."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TextIO

import rich.box
from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

LOG_EVERY_S = 20.0
"""Seconds between lines about progress where there is no terminal to draw a bar on."""


class Console:
    """Speaks on stderr; says only warnings when quiet, and details when verbose. Progress bars show on terminals alone."""

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self._rich = RichConsole(stderr=True, highlight=False)
        self._shared: Progress | None = None
        if not self._rich.is_terminal:
            self._rich.width = 140  # a log has no edge; rich would take 80

    def note(self, text: str) -> None:
        """Something that was done or found."""
        if not self.quiet:
            self._rich.print(escape(text), soft_wrap=True)

    def detail(self, text: str) -> None:
        """Something that few want to know: how a choice was made, where a file lies."""
        if self.verbose:
            self.note(text)

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

    def hushed(self, about: str) -> Console:
        """One for work of which only warnings are to be seen; they begin with what it is about."""
        return _Warning(self, about)

    def next_step(self, text: str) -> None:
        """What to run or look at now: the last line."""
        if not self.quiet:
            self._rich.print(f"[bold green]next:[/] {escape(text)}", soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", *, detail: bool = False) -> None:
        """A table; every column but the first holds figures, unless its name starts with a blank. One that is a `detail` is for
        the verbose alone."""
        if self.quiet or (detail and not self.verbose):
            return
        table = Table(title=escape(title) or None, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
        for i, name in enumerate(columns):
            table.add_column(escape(name.strip()), justify="left" if i == 0 or name.startswith(" ") else "right")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self._rich.print(table)

    @contextmanager
    def side_by_side(self) -> Iterator[None]:
        """Progress made meanwhile, also by several threads, shows in one view of a line each."""
        with self._bars() as bars:
            self._shared = bars
            try:
                yield
            finally:
                self._shared = None

    @contextmanager
    def progress(self, label: str, total: int, done: int = 0) -> Iterator[Advance]:
        """A bar with count, rate (in the text given) and time left; in a log, a line now and then instead."""
        if self._shared is not None:
            yield from self._line_of(self._shared, label, total, done)
            return
        with self._bars() as bars:
            yield from self._line_of(bars, label, total, done)

    def _line_of(self, bars: Progress, label: str, total: int, done: int) -> Iterator[Advance]:
        task = bars.add_task(escape(label), total=total, completed=done, said="")
        try:
            yield Advance(self, bars, task, None if self._rich.is_terminal else label, done, total)
        finally:
            bars.remove_task(task)

    def _bars(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            console=self._rich,
            transient=True,
            disable=self.quiet or not self._rich.is_terminal,
        )


class Advance:
    """Moves a progress bar."""

    def __init__(self, console: Console, bar: Progress, task: TaskID, label: str | None, done: int, total: int = 0) -> None:
        self._console = console
        self._total = total
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
            self._console.note(f"{self._label}: {self._done:,} of {self._total:,}; {said}")
            self._spoke_at = time.monotonic()


class Relayed(Console):
    """What a process that works for another says: one JSON object a line on stdout, which the other shows: see `replay`."""

    events: ClassVar[TextIO | None] = None
    """Where they go, if stdout is no longer for them."""

    def __init__(self, verbose: bool = False) -> None:
        super().__init__(quiet=True, verbose=verbose)

    @classmethod
    def alone(cls) -> None:
        """Keeps the stdout of this process for events: whatever else is printed, by parts and libraries, goes to stderr."""
        cls.events = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def tell(self, kind: str, *values: Any) -> None:
        """One event."""
        out = self.events or sys.stdout
        out.write(json.dumps([kind, *values], ensure_ascii=False) + "\n")
        out.flush()

    def hushed(self, about: str) -> Console:
        return _Warning(self, about)

    def note(self, text: str) -> None:
        self.tell("note", text)

    def detail(self, text: str) -> None:
        self.tell("detail", text)

    def warn(self, text: str) -> None:
        self.tell("warn", text)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", *, detail: bool = False) -> None:
        self.tell("table", list(columns), [list(row) for row in rows], title, detail)

    def _line_of(self, bars: Progress, label: str, total: int, done: int) -> Iterator[Advance]:
        self.tell("progress", label, total, done)
        try:
            yield _RelayedAdvance(self, bars)
        finally:
            self.tell("over")


class _RelayedAdvance(Advance):
    def __init__(self, console: Relayed, bar: Progress) -> None:
        self._relayed = console
        super().__init__(console, bar, TaskID(0), None, 0)

    def advance(self, said: str = "", steps: int = 1) -> None:
        self._relayed.tell("advance", said, steps)


class _Warning(Console):
    """Says nothing but warnings, by another."""

    def __init__(self, other: Console, about: str) -> None:
        super().__init__(quiet=True)
        self._other = other
        self._about = about

    def warn(self, text: str) -> None:
        self._other.warn(f"{self._about}: {text}")


class Replay:
    """Shows what one `Relayed` says."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._line: Any = None
        self._advance: Advance | None = None

    def show(self, kind: str, *values: Any) -> None:
        """One event, as `Relayed.tell` was given it."""
        if kind in {"note", "detail", "warn"}:
            getattr(self._console, kind)(*values)
        elif kind == "table":
            columns, rows, title, detail = values
            self._console.table(columns, rows, title, detail=detail)
        elif kind == "progress":
            self._line = self._console.progress(*values)
            self._advance = self._line.__enter__()
        elif kind == "advance" and self._advance is not None:
            self._advance.advance(*values)
        elif kind == "over":
            self.close()

    def close(self) -> None:
        """Ends a line of progress that is left open."""
        if self._line is not None:
            self._line.__exit__(None, None, None)
        self._line = self._advance = None
