"""Several pictures in one cell: 'a.png;b.png' (AutoGluon's convention) in a third of the rows; and a JSON list of paths in
JSON Lines.
EXPECT: read (as several), or a clear error that says that a cell names several files.
RUN: mmcli preprocess data.csv -a art ; mmcli inspect data.jsonl
"""

import json
import pathlib
import sys

from PIL import Image

out = pathlib.Path(sys.argv[1])
(out / "m").mkdir(parents=True, exist_ok=True)
with (out / "data.csv").open("w") as f, (out / "data.jsonl").open("w") as g:
    f.write("photo,x,label\n")
    for i in range(40):
        for k in "ab":
            Image.new("RGB", (40, 40), (220, 0, 0) if i % 2 else (0, 0, 220)).save(out / "m" / f"{k}{i}.png")
        two = [f"m/a{i}.png", f"m/b{i}.png"] if i % 3 == 0 else [f"m/a{i}.png"]
        f.write(f"{';'.join(two)},{i * 0.3 % 2:.1f},{'ab'[i % 2]}\n")
        g.write(json.dumps({"photo": two, "x": i * 0.3 % 2, "label": "ab"[i % 2]}) + "\n")
