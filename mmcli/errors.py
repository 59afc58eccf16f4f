"""Errors that a user sees: what was expected, what was found, where, and what to do next.

Owns the exit codes. Knows nothing of what failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from enum import IntEnum


class ExitCode(IntEnum):
    """What the shell is told. Documented in docs/exit-codes.md; part of the interface."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BAD_DATA = 3
    ARTIFACT = 4
    BUSY = 5
    INTERRUPTED = 130


class MmcliError(Exception):
    """Something the user can act on. `remedy` says how; it is printed on a line of its own."""

    code = ExitCode.FAILED

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


class ConfigError(MmcliError):
    """A flag, an environment variable or a config file says something that cannot be done."""

    code = ExitCode.USAGE


class MissingPackageError(ConfigError):
    """What was asked for needs a package that is not installed."""


class DataError(MmcliError):
    """The user's table or its media are not what the stage needs."""

    code = ExitCode.BAD_DATA


class ArtifactError(MmcliError):
    """An artifact is missing, stale, damaged or of another version."""

    code = ExitCode.ARTIFACT


class ChangedError(ArtifactError):
    """An artifact was replaced by another process while it was read: reading it again gives the new one."""


class BusyError(MmcliError):
    """Another process is writing the same artifact."""

    code = ExitCode.BUSY


def combine(errors: Sequence[MmcliError]) -> MmcliError:
    """Several errors as one, so that the user mends all of them in one go; the class is the first one's."""
    if len(errors) == 1:
        return errors[0]
    lines = [f"{len(errors)} problems:"]
    for number, error in enumerate(errors, 1):
        stop = "" if error.message.endswith((".", "?", "!", ":")) or not error.remedy else "."
        lines.append(f"  {number}. {error.message}{stop}" + (f" {error.remedy}" if error.remedy else ""))
    return type(errors[0])("\n".join(lines))


def nearest(wrong: str, known: Sequence[str]) -> str:
    """The name that may be meant, in whatever case; empty where none is near."""
    near = get_close_matches(wrong.lower(), [name.lower() for name in known], n=1, cutoff=0.6)
    return next((name for name in known if near and name.lower() == near[0]), "")


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`Did you mean 'gated'?`, or, where nothing is near, the first known names."""
    names = sorted(set(known))
    if near := nearest(wrong, names):
        return f"Did you mean {near!r}?"
    if not names:
        return ""
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"Known: {shown}."


def unknown(what: str, wrong: str, known: Iterable[str]) -> str:
    """One sentence for a name that is not there, with the nearest one that is."""
    return f"unknown {what} {wrong!r}. {did_you_mean(wrong, known)}".rstrip()
