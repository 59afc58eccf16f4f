"""Columns that are empty in all train rows (number, text, category, date) or in all val rows.
EXPECT: no crash; said; predictions finite.
RUN: mmcli run data.csv --target label --no-optimize -a art
"""

import csv
import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
with (out / "data.csv").open("w", encoding="utf-8", newline="") as f:
    w = csv.writer(f)
    w.writerow(
        ["num_no_train", "text_no_train", "cat_no_train", "date_no_train", "num_no_val", "text_no_val", "x", "split", "label"]
    )
    for i in range(90):
        s = "train" if i < 60 else "val" if i < 75 else "test"
        tr, va = s == "train", s == "val"
        w.writerow(
            [
                "" if tr else i * 0.3,
                "" if tr else f"note number {i} here",
                "" if tr else "uv"[i % 2],
                "" if tr else f"2024-01-{i % 28 + 1:02}",
                "" if va else i * 0.7 % 9,
                "" if va else f"words {'good' if i % 2 else 'bad'} {i}",
                i * 0.77 % 5,
                s,
                "ab"[i % 2],
            ]
        )
