"""What the shell offers where a value is typed. Imports no part: names and summaries come from the registry."""

from __future__ import annotations

from collections.abc import Callable


def of(what: str | tuple[str, ...]) -> Callable[[str], list[tuple[str, str]]]:
    """Completion of the words themselves, or of the names of a room's parts, with their summaries."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        return [(name, about) for name, about in _known(what) if name.startswith(incomplete)]

    return complete


def _known(what: str | tuple[str, ...]) -> list[tuple[str, str]]:
    if isinstance(what, tuple):
        return [(word, "") for word in what]
    from mmcli import registry

    return [(name, info.summary) for name, info in registry.parts(what).items()]
