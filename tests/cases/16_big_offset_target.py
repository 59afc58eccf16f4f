"""A regression target with a large offset: a time in Unix seconds within one hour, to be known to seconds.
EXPECT: predictions in the CSV differ by seconds as the model's do; not rounded to thousands.
RUN: mmcli run data.csv --target t --no-optimize -a art; mmcli predict data.csv -a art -o p.csv
"""

import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
with (out / "data.csv").open("w") as f:
    f.write("x,z,t\n")
    for i in range(120):
        x = i * 37 % 113
        f.write(f"{x},{i * 0.77 % 5:.2f},{1764000000 + 30 * x}\n")
