"""Writes the generated pages: docs/commands.md from the command line, docs/parts.md from the registry.

python docs/generate.py            write them
python docs/generate.py --check    end with status 1 if they are not current
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer.main

from mmcli import registry
from mmcli.cli import COMMANDS, app
from mmcli.config import ROOM_OF_KEY, TrainingConfig

DOCS = Path(__file__).parent
KEY_OF_ROOM = {room: key for key, room in ROOM_OF_KEY.items()}


def commands_page() -> Iterator[str]:
    """Every command with its arguments and options."""
    yield "# Commands\n"
    yield "Made by `python docs/generate.py` from the command line itself. Exit codes: [exit-codes.md](exit-codes.md).\n"
    group: Any = typer.main.get_command(app)
    for name in COMMANDS:
        command = group.commands[name]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join(["mmcli", name, *(p.metavar or p.name.upper() for p in arguments), "[OPTIONS]"])
        yield f"## {name}\n\n{(command.help or '').strip()}\n\n    {usage}\n"
        if options:
            yield "| option | what it does | default |\n| --- | --- | --- |"
            for option in options:
                names = ", ".join(f"`{spelling}`" for spelling in option.opts)
                default = "" if option.default in (None, False) else f"`{option.default}`"
                environment = f" Environment: `{option.envvar}`." if option.envvar else ""
                yield f"| {names} | {option.help}{environment} | {default} |"
            yield ""


def parts_page() -> Iterator[str]:
    """Every part with its options, as they stand in its `Config`."""
    yield "# Parts and their options\n"
    yield (
        "Made by `python docs/generate.py` from the registry. An option is set by `--set KEY=VALUE` or in a TOML file; see\n"
        "[guide.md](guide.md#options).\n"
    )
    yield f"## training\n\n{TrainingConfig.__doc__}\n"
    yield from _options("training", TrainingConfig)
    for room in registry.ROOMS:
        yield f"## {room}\n"
        for name, info in registry.parts(room).items():
            part = registry.load(room, name)
            also = f" (also `{'`, `'.join(info.aliases)}`)" if info.aliases else ""
            yield f"### {name}{also}\n\n{info.summary}.\n"
            traits = [f"{trait}: {_shown(getattr(part, trait))}" for trait in TRAITS.get(room, ()) if hasattr(part, trait)]
            if traits:
                yield "; ".join(traits).replace("_", " ") + ".\n"
            yield from _options(f"{KEY_OF_ROOM[room]}.{name}", registry.config_of(part))


TRAITS = {"encoders": ("kinds",), "fusions": ("family", "absent_inputs", "order_sensitive")}


def _shown(value: Any) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(value))
    return {True: "yes", False: "no"}.get(value, str(value))


def _options(key: str, config: Any) -> Iterator[str]:
    if not config.model_fields:
        return
    yield "| key | what it is | default |\n| --- | --- | --- |"
    for option, field in config.model_fields.items():
        choices = " or ".join(f"`{choice}`" for choice in get_args(field.annotation) if isinstance(choice, str))
        about = (field.description or "").replace("\n", " ").replace("|", "\\|") + (f" One of {choices}." if choices else "")
        yield f"| `{key}.{option}` | {about} | `{field.default!r}` |"
    yield ""


PAGES = {"commands.md": commands_page, "parts.md": parts_page}


def main() -> int:
    """Writes or checks every page; gives the exit status."""
    stale = []
    for name, page in PAGES.items():
        text = "\n".join(page()).rstrip() + "\n"
        path = DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"not current: {', '.join(stale)}; run: python docs/generate.py")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
