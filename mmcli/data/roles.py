"""What the user says of the columns of a table."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What the user says of the columns; empty means: find out."""

    target: tuple[str, ...] = ()
    """Several only where several numbers are predicted at once."""
    task: str | None = None
    inputs: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    types: dict[str, str] = field(default_factory=dict)
    split: str | None = None
    group: str | None = None
    id: str | None = None
    each: bool = False
    """Whether each number and category is an input of its own, rather than all of them one."""
    media_root: str | None = None
    """A folder or an address."""
