"""df.to_csv("x.csv") as pandas does by default: the index is written under an empty header.
EXPECT: the nameless first column is taken as row names and left out (pandas: 'Unnamed: 0'), not an error.
RUN: mmcli inspect data.csv --target label
"""

import pathlib
import sys

import pandas as pd

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
n = 60
df = pd.DataFrame({"x": [i * 0.7 % 3 for i in range(n)], "label": ["ab"[i % 2] for i in range(n)]})
df.to_csv(out / "data.csv")
s = df.sort_values("label").reset_index(drop=True).sample(frac=0.8, random_state=0)
s.to_csv(out / "twice.tmp.csv")
pd.read_csv(out / "twice.tmp.csv").to_csv(out / "shuffled.csv", index=False)
(out / "twice.tmp.csv").unlink()
s.to_parquet(out / "shuffled.parquet")
