"""Files of weights that are pickles: how they are told, and what to do about one. They are never loaded."""

from __future__ import annotations

import shlex
from pathlib import Path

TABICL = "tabicl"
"""How the names of checkpoints of TabICL begin."""
PICKLES = frozenset([".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"])


def conversion(pickle: Path) -> str:
    """What makes safetensors of it."""
    return _command(
        "import torch as t, safetensors.torch as s; s.save_file({k: v.contiguous() "
        f"for k, v in t.load({str(pickle)!r}, weights_only=True).items()}}, {str(pickle.with_suffix('.safetensors'))!r})"
    )


def unpacking(pickle: Path, folder: Path) -> str:
    """What makes a folder with config.json and safetensors of a checkpoint of TabICL, which holds both."""
    return _command(
        "import json, pathlib, torch as t, safetensors.torch as s; "
        f"c = t.load({str(pickle)!r}, map_location='cpu', weights_only=True); p = pathlib.Path({str(folder)!r}); "
        "p.mkdir(exist_ok=True); (p / 'config.json').write_text(json.dumps(c['config'])); "
        "s.save_file({k: v.contiguous() for k, v in c['state_dict'].items()}, p / 'model.safetensors')"
    )


def _command(program: str) -> str:
    """What runs it, for a shell: names of files in it, which others may have chosen, are no words of that shell's."""
    return f"Convert it if you trust it: python -c {shlex.quote(program)}"
