"""What each command does: reads the previous stage's artifact, writes its own. A stage knows no other: they meet on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmcli.config.settings import Settings
from mmcli.reporting.console import Console

if TYPE_CHECKING:
    from mmcli.tables.reading import Table
    from mmcli.training.fixed import Fixed


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every stage is told."""

    root: Path
    """Where artifacts lie."""
    console: Console
    settings: Settings = field(default_factory=Settings)
    device: str = "auto"
    precision: str = "auto"
    threads: int = 0
    """Cores to compute on; 0 for all, or as many as are faster."""
    seed: int = 0
    force: bool = False
    dry_run: bool = False
    to_the_end: bool = False
    """Whether all stages follow, so that what the last one needs must be there from the first."""
    fixed: Fixed | None = None
    """What val would decide, where there is none: see `folds`."""
    command: str = ""
    """The command line as typed, for messages that say what to run again."""


@dataclass(frozen=True)
class Outcome:
    """What a stage did, for `--json` and for the next-step hint."""

    data: dict[str, Any]
    next_step: str


def say_of_table(table: Table, context: Context) -> None:
    """What was understood of a table's file, and what was guessed."""
    for line in table.notes:
        context.console.note(line)
    for line in table.warnings:
        context.console.warn(line)
