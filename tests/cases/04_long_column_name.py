"""Survey export: the header of a column is a whole question of 120 Chinese characters (360 bytes), another of 300 ASCII
letters.
EXPECT: works (folder name shortened), or a clear error naming the column; no OSError traceback.
RUN: mmcli preprocess data.csv -a art
"""

import csv
import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
q1 = "请描述您最近一次使用本服务时遇到的困难以及您希望我们如何改进" * 4
q2 = "How satisfied were you with the visit, all things considered? " * 5
with (out / "data.csv").open("w", encoding="utf-8", newline="") as f:
    w = csv.writer(f)
    w.writerow([q1, q2, "label"])
    for i in range(40):
        w.writerow([f"意见 {i} {'好' if i % 2 else '坏'} 的服务", i * 1.5 % 7, "ab"[i % 2]])
