"""What every part of a room must do, as checks that users and the contract tests share: one file a room. Knows no command.

`mmcli check ./mine.py` runs those of the room that the file's class belongs to; the tests run the same over the registry. A
room's file has `CHECKS`, functions that raise AssertionError with what they found, and `subjects(name, **options)`, what they
look at: fresh copies of a part, small enough to be tried, one for each kind of input that the part takes.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mmcli import registry
from mmcli.config.settings import ROOM_OF_KEY
from mmcli.errors import ConfigError, unknown

Check = Callable[[Any], None]


@dataclass(frozen=True)
class Result:
    """How one check went."""

    name: str
    about: str
    passed: bool
    found: str = ""


def check(name: str, room: str = "") -> tuple[str, list[Result]]:
    """The room of a part, named by file and class or as it is installed, and every check of it, in order.

    Raises:
        ConfigError: there is no such part, or in several rooms; it cannot be imported, or has options without a default.
    """
    room = room_of(name, room)
    own = of_room(room)
    subjects = own.subjects(name)
    return room, [_result(one, subjects) for one in own.CHECKS]


def of_room(room: str) -> ModuleType:
    """The checks of a room."""
    (key,) = (key for key, value in ROOM_OF_KEY.items() if value == room)
    return importlib.import_module(f"mmcli.checks.{key}")


def room_of(name: str, told: str = "") -> str:
    """Which room a part that the user has typed belongs to: the one told, else the only one that has it.

    Raises:
        ConfigError: there is no such room or part, or several rooms have one.
    """
    registry.trust(name)
    if told:
        room = ROOM_OF_KEY.get(told, told)
        if room not in registry.ROOMS:
            raise ConfigError(f"--room: {unknown('room', told, ROOM_OF_KEY)}")
        return room
    rooms = registry.rooms_of(name)
    if len(rooms) > 1:
        keys = " or ".join(f"--room {key}" for key, room in ROOM_OF_KEY.items() if room in rooms)
        words = ", ".join(registry.ROOMS[room] for room in rooms)
        raise ConfigError(f"{name} is several parts: {words}", f"Say which is meant: {keys}.")
    return rooms[0]


def _result(one: Check, subjects: Sequence[Any]) -> Result:
    about = (inspect.getdoc(one) or "").rstrip(".")
    for subject in subjects:
        try:
            one(subject)
        except Exception as error:  # whatever a user's code raises is what it has to hear
            found = (str(error) or type(error).__name__).splitlines()[0]
            if not isinstance(error, AssertionError):
                found = f"{type(error).__name__}: {found}"
            return Result(one.__name__, about, False, f"{subject.label}: {found}" if subject.label else found)
    return Result(one.__name__, about, True)
