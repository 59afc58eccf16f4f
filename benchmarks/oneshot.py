"""One-shot classification by a model of pairs (Lake 2015): each query of a run against the pictures of its own run.

    python benchmarks/oneshot.py ARTIFACTS omniglot/oneshot.csv

ARTIFACTS holds a model of `--task match` over two columns of pictures, trained on other alphabets; the table names runs, the
role of each row (gallery or query) and its character. A query takes the character of the gallery's picture that it most
probably belongs with. The error has a 95% interval over runs drawn with replacement.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import mmcli


def main() -> None:
    """Measures one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", type=Path)
    parser.add_argument("table", type=Path)
    arguments = parser.parse_args()
    rows, model = pd.read_csv(arguments.table, dtype=str), mmcli.load(arguments.artifacts)
    one, other = list(model.columns)[:2]
    queries, gallery = (rows[rows["role"] == role] for role in ("query", "gallery"))
    pairs = queries.merge(gallery, on="run", suffixes=("_query", "_gallery"))
    asked = pd.DataFrame({one: pairs["image_query"], other: pairs["image_gallery"]})
    found = model.predict(asked, media_root=arguments.table.parent)
    [name] = [column for column in found.columns if column.endswith("_predicted_probability")]
    pairs["alike"] = found[name].to_numpy(float)
    best = pairs.loc[pairs.groupby("id_query")["alike"].idxmax()]
    wrong = best.assign(wrong=best["character_query"] != best["character_gallery"])
    by_run = wrong.groupby("run")["wrong"].mean().to_numpy()
    drawn = np.random.default_rng(0).choice(by_run, (1000, len(by_run))).mean(1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    print(f"error {by_run.mean():.3f} [{low:.3f}, {high:.3f}] of {len(best)} queries in {len(by_run)} runs")


if __name__ == "__main__":
    main()
