"""Texts without a blank: one cell of 80,000 Chinese characters without punctuation (26 s of fit), one of 80,000 emoji
characters (31 s); time grows with the square, so 1,000,000 characters never end
(a run with three cells of a million each was killed after 300 s at "preprocess", nothing said).
EXPECT: preprocess ends in a second or two: only the first max_tokens tokens of a cell are ever used, so learning the
tokenizer needs no more than the head of each cell, nor 'words' of thousands of letters.
RUN: time mmcli preprocess data.jsonl -a art
"""

import json
import pathlib
import random
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
r = random.Random(0)
n = 80_000
with (out / "data.jsonl").open("w", encoding="utf-8") as f:
    for i in range(40):
        t = (
            "".join(chr(r.randrange(0x4E00, 0x9FA5)) for _ in range(n))
            if i == 3
            else "👩‍👩‍👧" * (n // 5)
            if i == 11
            else f"short text {i}"
        )
        f.write(json.dumps({"text": t, "label": "ab"[i % 2]}, ensure_ascii=False) + "\n")
