"""Which input columns share one fitted modality and one encoder: told by `--share`, or found by their names.

Gives reader -> owner; an owner reads for itself, so there are no chains. Knows nothing of what is trained.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mmcli.errors import ConfigError, MmcliError, combine, unknown

PICTURES = "image"
"""The modality whose columns share an encoder where the columns of a row belong together."""
_NUMBERED = re.compile(r"(?P<name>.+?)(?P<mark>[_\-. ]?)(?P<place>[1-9]|(?<=[_\-. ])[a-h])", re.IGNORECASE)
"""`photo_a`, `photo-1`, `photo1`."""
_SIDED = re.compile(r"(?P<before>.*?)(?P<side>left|right)(?P<after>.*)", re.IGNORECASE)
"""`left_photo`, `photo_right`."""


def find(modalities: Mapping[str, str], joins: Mapping[str, bool], told: Mapping[str, str], look: bool) -> dict[str, str]:
    """Reader -> owner, of columns by their modality; those that names tell are looked for where nothing is told.

    `joins` says of each column whether it is read side by side with others of its kind, in one form.

    Raises:
        ConfigError: what is told names no input column, a column twice, columns of two kinds, or a form's.
    """
    errors = [error for reader, owner in told.items() for error in _wrong(reader, owner, modalities, joins, told)]
    if errors:
        raise combine(errors)
    if told or not look:
        return dict(told)
    found: dict[str, str] = {}
    for names in _alike([name for name in modalities if not joins[name]]):
        if len({modalities[name] for name in names}) == 1:
            found |= dict.fromkeys(names[1:], names[0])
    return found


def of_one_kind(modalities: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """Reader -> owner, of pictures that belong together: all of those that share none yet read the encoder of the first."""
    names = [name for name, modality in modalities.items() if modality == PICTURES]
    free = [name for name in names if name not in found and name not in found.values()]
    return dict.fromkeys(free[1:], free[0]) if len(free) > 1 else {}


def _wrong(
    reader: str, owner: str, modalities: Mapping[str, str], joins: Mapping[str, bool], told: Mapping[str, str]
) -> list[MmcliError]:
    flag = f"--share {reader}={owner}"
    missing = [name for name in (reader, owner) if name not in modalities]
    if missing:
        return [ConfigError(f"{flag}: {unknown('input column', missing[0], modalities)}")]
    if reader == owner:
        return [ConfigError(f"{flag}: a column has nothing to share with itself", "Name two columns, or leave it out.")]
    joined = [name for name in (reader, owner) if joins[name]]
    if joined:
        why = f"{flag}: {joined[0]!r} is {modalities[joined[0]]}, which is read side by side with others in one form"
        return [ConfigError(why, "Read each by itself: --each; or leave this one out.")]
    if modalities[reader] != modalities[owner]:
        kinds = f"{reader!r} is {modalities[reader]}, {owner!r} is {modalities[owner]}"
        return [
            ConfigError(f"{flag}: one encoder reads one kind of column: {kinds}", "Say what they are with --type, or leave it.")
        ]
    if owner in told:
        root = told[owner]
        if root == reader:
            first = list(told).index(reader) < list(told).index(owner)
            said = f"{flag} --share {owner}={reader}: each is to read the other's encoder"
            return [ConfigError(said, f"Leave one out: {flag}")] if first else []
        return [
            ConfigError(f"{flag}: {owner!r} itself reads the encoder of {root!r}", f"Share with that: --share {reader}={root}")
        ]
    return []


def _alike(names: Sequence[str]) -> list[list[str]]:
    """Columns, two or more, that are called alike but for a first and a second at one end, in the order of these."""
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        numbered, sided = _NUMBERED.fullmatch(name), _SIDED.fullmatch(name)
        if numbered:
            place = numbered["place"].lower()
            key = (numbered["name"].lower(), numbered["mark"], "number" if place.isdigit() else "letter")
            groups.setdefault(key, {})[place] = name
        elif sided and (sided["before"] + sided["after"]).strip("_-. "):
            key = (sided["before"].lower(), "side", sided["after"].lower())
            groups.setdefault(key, {})[sided["side"].lower()] = name
    found = []
    for group in groups.values():
        places = sorted(group)
        if places[:2] in (["1", "2"], ["a", "b"], ["left", "right"]):
            found.append([group[place] for place in places])
    return found
