"""Files that came with the model: what is missing or damaged among them, in words. Knows nothing of what they hold."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REMEDY = "copy the whole folder anew, or export the model again"


class DamagedError(ValueError):
    """The folder is not as it was exported: which file, what is wrong, and what to do."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """While a file of the folder is read, and made into what it is of.

    Raises:
        DamagedError: it is not there, or that cannot be done. Packages that are missing are no damage.
    """
    if not path.is_file():
        raise DamagedError(f"{path} is missing: {REMEDY}")
    try:
        yield
    except (DamagedError, ImportError, MemoryError):
        raise
    except PermissionError:
        raise DamagedError(f"{path}: there is no permission to read it") from None
    except Exception as error:  # libraries raise whatever damaged files lead them to
        raise DamagedError(f"{path} is damaged ({_why(error, path)}): {REMEDY}") from None


def read_json(path: Path) -> Any:
    """What a file of the folder holds.

    Raises:
        DamagedError: it is not there, or no JSON.
    """
    with reading(path):
        return json.loads(path.read_text(encoding="utf-8"))


def _why(error: Exception, path: Path) -> str:
    """In one line, without the path where it ends what a library says first; a key that is not there says nothing alone."""
    text = " ".join(str(error).split()).rpartition(f"{path} failed:")[2].strip(" .")[:200]
    return f"it lacks {text}" if isinstance(error, KeyError) else text or type(error).__name__
