"""mmcli list."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from mmcli.cli import options as o
from mmcli.errors import ConfigError, unknown

Room = Annotated[
    str | None,
    typer.Argument(help="modalities, encoders, fusions, tasks or optimizations. Default: all.", show_default=False),
]


def command(room: Room = None, json_: o.Json = False) -> None:
    """List what there is: modalities, encoders, fusions, tasks, optimizations."""
    from mmcli import registry

    if room is not None and room not in registry.ROOMS:
        raise ConfigError(unknown("list", room, registry.ROOMS))
    rooms = [room] if room else list(registry.ROOMS)
    found = {name: registry.parts(name) for name in rooms}
    if json_:
        data = {name: {part: info.summary for part, info in parts.items()} for name, parts in found.items()}
        typer.echo(json.dumps(data, ensure_ascii=False, indent=1))
        return
    width = max(len(part) for parts in found.values() for part in parts) + 2
    for name, parts in found.items():
        if len(found) > 1:
            typer.echo(f"{name}:")
        for part, info in parts.items():
            also = f" (also: {', '.join(info.aliases)})" if info.aliases else ""
            typer.echo(f"{'  ' if len(found) > 1 else ''}{part:<{width}}{info.summary}{also}")
