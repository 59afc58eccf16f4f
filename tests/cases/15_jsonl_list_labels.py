"""JSON Lines with the labels of a row as a list, as annotation tools write them; some rows have none ([]).
EXPECT: multilabel with the labels cat, dog, bird (or a clear error); never labels such as '["cat"'.
RUN: mmcli preprocess data.jsonl --target tags --label-separator ',' -a art ; see art/preprocess/task.json
"""

import json
import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
names = ["cat", "dog", "bird"]
with (out / "data.jsonl").open("w") as f:
    for i in range(90):
        tags = [n for k, n in enumerate(names) if (i * 7 + k * 3) % 5 < 2]
        f.write(json.dumps({"text": "picture of " + " and ".join(tags or ["nothing"]) + f" {i}", "tags": tags}) + "\n")
