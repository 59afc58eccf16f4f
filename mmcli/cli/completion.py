"""What the shell offers where a value is typed. Imports no part: names and summaries come from the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

Found = list[tuple[str, str]]


def of(what: str | tuple[str, ...]) -> Callable[[typer.Context, str], Found]:
    """Completion of the words themselves, of the names of a room's parts, of the table's COLUMNS, of the KEYS of --set."""

    def complete(ctx: typer.Context, incomplete: str) -> Found:
        return [(name, about) for name, about in _known(what, ctx) if name.startswith(incomplete)]

    return complete


def _known(what: str | tuple[str, ...], ctx: typer.Context) -> Found:
    if isinstance(what, tuple):
        return [(word, "") for word in what]
    return {"columns": _columns, "keys": _keys}[what](ctx) if what in {"columns", "keys"} else _parts(what)


def _parts(room: str) -> Found:
    from mmcli import registry

    return [(name, info.summary) for name, info in registry.parts(room).items()]


def _columns(ctx: typer.Context) -> Found:
    """Those of the table on the line; none where it cannot be read: completion says nothing of errors."""
    from mmcli.errors import MmcliError
    from mmcli.tables.reading import open_table

    words = [
        ctx.params.get("table"),
        *(ctx.params.get("tables") or ()),
        *ctx.args,
    ]  # a flag that still wants its value ends the parsing: words are left over
    paths = [Path(word) for word in words if word is not None and Path(word).is_file()]
    try:
        table = open_table(paths[0], ctx.params.get("encoding"), ctx.params.get("delimiter")) if paths else None
    except (MmcliError, OSError):
        return []
    return [(name, "") for name in table.columns] if table else []


def _keys(_: typer.Context) -> Found:
    from mmcli.config.settings import every_key

    return [(f"{key}=", about) for key, about in every_key().items()]
