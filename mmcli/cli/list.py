"""mmcli list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmcli.cli.binding import bound
from mmcli.errors import ConfigError, unknown
from mmcli.options.common import Json
from mmcli.options.flags import Flag
from mmcli.reporting import strict

if TYPE_CHECKING:
    from mmcli.registry import PartInfo


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command is told."""

    room: Annotated[
        str | None,
        Flag("", "modalities, encoders, fusions, tasks or optimizations. Default: all.", show_default=False),
    ] = None
    json: Json = False


@bound(Options, common=())
def command(options: Options) -> None:
    """List what there is: modalities, encoders, fusions, tasks, optimizations."""
    from mmcli import registry
    from mmcli.pretrained import shelf

    room = options.room
    if room is not None and room not in registry.ROOMS:
        raise ConfigError(unknown("list", room, registry.ROOMS))
    rooms = [room] if room else list(registry.ROOMS)
    found = {name: registry.parts(name) for name in rooms}
    if options.json:
        data = {name: {part: _data(info) for part, info in parts.items()} for name, parts in found.items()}
        for model in shelf.look().models if "encoders" in found else ():
            data["encoders"][model.architecture] = f"{model.modality}, of {shelf.VARIABLE}"
        typer.echo(strict.text(data, indent=1))
        return
    if room == "fusions":
        _fusions(found[room])
        return
    width = max(len(part) for parts in found.values() for part in parts) + 2
    for name, parts in found.items():
        if len(found) > 1:
            typer.echo(f"{name}:")
        for part, info in parts.items():
            also = f" (also: {', '.join(info.aliases)})" if info.aliases else ""
            typer.echo(f"{'  ' if len(found) > 1 else ''}{part:<{width}}{info.summary}{also}")
        for model in shelf.look().models if name == "encoders" else ():
            typer.echo(f"{'  ' if len(found) > 1 else ''}{model.architecture}  for {model.modality}, of {shelf.VARIABLE}")


def _data(info: PartInfo) -> Any:
    """The summary; of a fusion all that is told of it."""
    about = info.literals.get("ABOUT")
    return info.summary if about is None else {"summary": info.summary, **about}


def _fusions(parts: dict[str, PartInfo]) -> None:
    """What to choose when: two lines a method."""
    typer.echo(f"{'method':<22}{'family':<10}{'memory':<9}{'missing inputs':<18}{'order':<7}cost grows with")
    for name, info in parts.items():
        about = info.literals.get("ABOUT", {})
        also = f" ({', '.join(info.aliases)})" if info.aliases else ""
        absent = {"masked": "left out", "embedding": "learned stand-in"}.get(about.get("absent", ""), "")
        memory = "" if about.get("family") == "decision" else about.get("memory", "pooled")
        ordered = "yes" if about.get("ordered") else "no"
        typer.echo(f"{name + also:<22}{about.get('family', ''):<10}{memory:<9}{absent:<18}{ordered:<7}{about.get('cost', '')}")
        typer.echo(f"    {about.get('use', info.summary)}")
