"""A tiny TabICL of random weights, as a folder of `MMCLI_MODELS` or as the checkpoint that is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

TINY: dict[str, Any] = {
    "max_classes": 4,
    "embed_dim": 8,
    "col_num_blocks": 1,
    "col_nhead": 2,
    "col_num_inds": 4,
    "row_num_blocks": 1,
    "row_nhead": 2,
    "row_num_cls": 2,
    "icl_num_blocks": 1,
    "icl_nhead": 2,
    "num_quantiles": 9,
    "zero_init": False,
}
"""What it is built with; untrained networks whose blocks begin as nothing would say the same of all rows."""


def network(**options: Any) -> Any:
    """The package's own module, the same each time."""
    from tabicl._model import TabICL

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = TabICL(**{**TINY, **options}).eval()
        for own in made.parameters():  # else its answers hardly tell rows apart
            own.data.mul_(2.0)
    return made


def write_model(folder: Path, **options: Any) -> Any:
    """Makes the folder; gives the network."""
    made = network(**options)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**TINY, **options}), encoding="utf-8")
    save_file(made.state_dict(), folder / "model.safetensors")
    return made


def write_checkpoint(file: Path, **options: Any) -> Any:
    """Makes the pickle; gives the network."""
    made = network(**options)
    torch.save({"config": {**TINY, **options}, "state_dict": made.state_dict()}, file)
    return made
