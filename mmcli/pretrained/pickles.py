"""Files of weights that are pickles: how they are told, and what to do about one. They are never loaded."""

from __future__ import annotations

from pathlib import Path

PICKLES = frozenset([".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"])


def conversion(pickle: Path) -> str:
    """What makes safetensors of it."""
    return (
        'Convert it if you trust it: python -c "import torch as t, safetensors.torch as s; s.save_file({k: v.contiguous() '
        f"for k, v in t.load('{pickle}', weights_only=True).items()}}, '{pickle.with_suffix('.safetensors')}')\""
    )
