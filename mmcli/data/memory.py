"""How much memory there is, how much of it a table may take, and keeping what was freed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from pathlib import Path

from mmcli.errors import ConfigError

VARIABLE = "MMCLI_MEMORY"
FEATURES = 2 * 2**30
"""Bytes that the tokens of a sub-model's features may take in memory, where there is so much."""
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def budget() -> int:
    """Bytes that columns may take in memory; those beyond are read from disk as they are needed. `MMCLI_MEMORY` (`2GB`,
    `500M`), else half of what is free.

    Raises:
        ConfigError: the variable holds no size.
    """
    said = os.environ.get(VARIABLE)
    return parse(said, VARIABLE) if said else available() // 2


def features_budget() -> int:
    """Bytes that the tokens of one sub-model's features may take in memory; those of more are read from disk."""
    return min(FEATURES, budget())


def parse(text: str, origin: str) -> int:
    """Bytes, from `2GB`, `1.5g`, `500 MiB` or a plain number.

    Raises:
        ConfigError: it is none of these; names `origin`.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", text.lower())
    if match is None:
        raise ConfigError(f"{origin}={text}: that is not a size", "E.g. 2GB, 500MB.")
    return int(float(match[1]) * _UNITS[match[2]])


def available() -> int:
    """Bytes that this process can still get, by the machine's account and that of its control group."""
    found = [_from_system(), *_from_group()]
    return max(min(found), 0)


def _from_system() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 * 2**30


def _from_group() -> list[int]:
    """What a container leaves, where there is a limit; pages of files are given back, they do not count."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit == "max":
            return []
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return [int(limit) - int(stat.get("anon", 0))]
    except (OSError, ValueError):
        return []


def keep_freed() -> None:
    """Lets glibc keep freed blocks: else each step gives its activations back and faults them in again."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)
        libc.mallopt(top_pad, 1 << 28)
