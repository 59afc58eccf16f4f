"""JSON Lines in which a text was cut in the middle of an emoji: a lone \\ud83d escape (legal JSON for json.loads).
EXPECT: the surrogate becomes U+FFFD, or the row is named in a clear error; no traceback.
RUN: mmcli preprocess data.jsonl -a art
"""

import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
with (out / "data.jsonl").open("w") as f:
    for i in range(40):
        end = "\\ud83d" if i == 7 else ""
        good = "good" if i % 2 else "bad"
        f.write(f'{{"text": "{good} thing number {i} {end}", "label": "{"ab"[i % 2]}"}}\n')
