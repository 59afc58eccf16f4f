"""R's write.csv / pandas na_rep="NA": missing numbers are written NA (20 % of the cells), '?' in another column, a
regression target with NA.
EXPECT: numbers with missing cells (or a warning that says how to declare NA); never silently text or category; a target
NA is no class.
RUN: mmcli inspect data.csv --target y
"""

import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
with (out / "data.csv").open("w", encoding="utf-8") as f:
    f.write("age,horsepower,y\n")
    for i in range(80):
        age, power = "NA" if i % 5 == 0 else 20 + i * 0.37, "?" if i % 6 == 0 else 60 + i * 1.3
        f.write(f"{age},{power},{'NA' if i % 10 == 3 else round(3 + i * 0.41, 2)}\n")
