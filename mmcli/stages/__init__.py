"""What each command does: reads the previous stage's artifact, writes its own. A stage knows no other: they meet on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mmcli import registry
from mmcli.config.settings import Settings
from mmcli.reporting.console import Console, Relayed

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

    def said(self) -> dict[str, Any]:
        """As plain JSON, for a process that works for this one."""
        return {
            "root": str(self.root),
            "verbose": self.console.verbose,
            "settings": self.settings.values,
            "device": self.device,
            "precision": self.precision,
            "threads": self.threads,
            "seed": self.seed,
            "force": self.force,
            "fixed": None if self.fixed is None else self.fixed.as_dict(),
            "command": self.command,
            "trust": list(map(str, registry.trusted())),
        }

    @classmethod
    def heard(cls, said: Mapping[str, Any]) -> Self:
        """The reverse of `said`: what it speaks goes to the process that it works for."""
        from mmcli.training.fixed import Fixed

        for file in said["trust"]:
            registry.trust(file)
        own = {key: said[key] for key in ("device", "precision", "threads", "seed", "force", "command")}
        return cls(
            root=Path(said["root"]),
            console=Relayed(said["verbose"]),
            settings=Settings(said["settings"]),
            fixed=None if said["fixed"] is None else Fixed.from_dict(said["fixed"]),
            **own,
        )


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
