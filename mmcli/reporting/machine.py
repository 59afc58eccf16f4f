"""The machine that this runs on, in words. Asks the system alone; knows nothing of models."""

from __future__ import annotations

import os
import platform

import torch


def described() -> str:
    """Processor, cores, memory, graphics card, system: what there is to compute on."""
    said = [platform.machine() or "unknown processor", f"{_cores()} cores"]
    if memory := _memory_gb():
        said.append(f"{memory:.0f} GB memory")
    cards = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    if not cards and torch.backends.mps.is_available():
        cards = ["Apple GPU"]
    return ", ".join([*said, ", ".join(cards) or "no GPU", f"{platform.system()} {platform.release()}".strip()])


def _cores() -> int:
    """Those that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory_gb() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 0.0
