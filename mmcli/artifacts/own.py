"""Whether a file was made on this machine by this user: a digest by a key that only they can read.

The key lies in the user's data folder (`$XDG_DATA_HOME/mmcli/key`, by default under `~/.local/share`), and is made when it is
first needed.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path


def key_file() -> Path:
    """Where the key lies."""
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "mmcli" / "key"


def mark(sha256: str) -> str:
    """The keyed digest (HMAC, RFC 2104) of a file with that sha256; makes the key if there is none.

    Raises:
        OSError: the key can neither be read nor made.
    """
    return hmac.new(_key(make=True), sha256.encode(), hashlib.sha256).hexdigest()


def is_own(sha256: str, marked: object) -> bool:
    """Whether `marked` is what `mark` gave here of a file with that sha256."""
    try:
        key = _key(make=False)
    except OSError:
        return False
    found = hmac.new(key, sha256.encode(), hashlib.sha256).hexdigest()
    return isinstance(marked, str) and hmac.compare_digest(found.encode(), marked.encode("utf-8", "replace"))


def _key(make: bool) -> bytes:
    file = key_file()
    if make and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = file.with_name(f"key.{os.getpid()}")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(secrets.token_bytes(32))
            out.flush()
            os.fsync(handle)
        try:
            os.link(fresh, file)  # the first of several processes makes it
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return file.read_bytes()
