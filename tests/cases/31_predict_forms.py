"""Predicting Parquet with typed columns (int64 id, float, bool, timestamp, category); a table that has <target>_predicted
already; a shuffled table; unseen category; JSON Lines.
EXPECT: the rows come back in order, untouched: Parquet types kept (id stays int64), existing columns not overwritten
silently, the same prediction per row whatever the order.
RUN: mmcli run train.csv --target label --no-optimize -a art; mmcli predict new.parquet -a art -o p.parquet; mmcli
predict p.csv ...
"""

import pathlib
import sys

import numpy as np
import pandas as pd

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
g = np.random.default_rng(0)
n = 120
x = g.normal(size=n).round(3)
c = np.where(g.random(n) < 0.5, "red", "blue")
label = np.where(x + (c == "red") + g.normal(size=n) * 0.2 > 0.5, "yes", "no")
pd.DataFrame({"x": x, "c": c, "flag": g.random(n) < 0.5, "label": label}).to_csv(out / "train.csv", index=False)
m = 300
new = pd.DataFrame(
    {
        "key": np.arange(2**60, 2**60 + m),
        "x": g.normal(size=m).round(3),
        "c": pd.Categorical(np.where(g.random(m) < 0.5, "red", "green")),
        "flag": g.random(m) < 0.5,
        "when": pd.date_range("2024-01-01", periods=m, freq="h"),
    }
)
new.to_parquet(out / "new.parquet")
new.sample(frac=1, random_state=1).to_parquet(out / "shuffled.parquet")
new.to_json(out / "new.jsonl", orient="records", lines=True, date_format="iso")
