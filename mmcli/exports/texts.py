"""Text in any language as token ids, by the tokenizer.json of the column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from mmcli.exports.damage import reading
from mmcli.exports.made import Cells, Made, padded


class Texts:
    """Texts -> ids int64 [B, T]."""

    def __init__(self, state: Mapping[str, Any], folder: Path) -> None:
        self.config = state["config"]
        path = folder / state["tokenizer"]
        with reading(path):
            self.tokenizer = Tokenizer.from_file(str(path))

    def names_file(self, cell: str) -> bool:  # noqa: ARG002 - never
        return False

    def __call__(self, cells: Cells) -> Made:
        longest, whole = self.config["max_tokens"], self.config["special_tokens"]
        texts = ["" if cell is None else cell for cell in cells]
        rows, remarks = [], Counter[str]()
        for cell, encoding in zip(cells, self.tokenizer.encode_batch_fast(texts, add_special_tokens=whole), strict=True):
            ids = [] if cell is None else encoding.ids
            kept = ids[:longest]
            if len(kept) < len(ids):
                if whole:  # the last one stays
                    kept[-1] = ids[-1]
                remarks[f"cut to {longest} tokens"] += 1
            rows.append(np.array(kept, dtype=np.int64))
        values, lengths = padded(rows, (), np.int64)
        return Made(values, np.array([cell is not None for cell in cells], dtype=bool), lengths, remarks=remarks)
