"""Files of weights that are pickles: how they are told, and what to do about one. They are never loaded."""

from __future__ import annotations

from pathlib import Path

TABICL = "tabicl"
"""How the names of checkpoints of TabICL begin."""
PICKLES = frozenset([".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"])


def conversion(pickle: Path) -> str:
    """What makes safetensors of it."""
    return (
        'Convert it if you trust it: python -c "import torch as t, safetensors.torch as s; s.save_file({k: v.contiguous() '
        f"for k, v in t.load('{pickle}', weights_only=True).items()}}, '{pickle.with_suffix('.safetensors')}')\""
    )


def unpacking(pickle: Path, folder: Path) -> str:
    """What makes a folder with config.json and safetensors of a checkpoint of TabICL, which holds both."""
    return (
        'Convert it if you trust it: python -c "import json, pathlib, torch as t, safetensors.torch as s; '
        f"c = t.load('{pickle}', map_location='cpu', weights_only=True); p = pathlib.Path('{folder}'); p.mkdir(exist_ok=True); "
        "(p / 'config.json').write_text(json.dumps(c['config'])); "
        "s.save_file({k: v.contiguous() for k, v in c['state_dict'].items()}, p / 'model.safetensors')\""
    )
