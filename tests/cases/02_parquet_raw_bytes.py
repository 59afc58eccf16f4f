"""Parquet with a plain binary column of encoded PNGs.
EXPECT: read as pictures, or a clear error that bytes cells are not understood; never turned into U+FFFD text and learnt
as text.
RUN: mmcli inspect data.parquet
"""

import io
import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
g = np.random.default_rng(0)
cells, labels = [], []
for i in range(40):
    a = np.full((32, 32, 3), (220, 30, 30) if i % 2 else (30, 30, 220), np.uint8)
    a[:8] = g.integers(0, 255, (8, 32, 3))
    b = io.BytesIO()
    Image.fromarray(a).save(b, "PNG")
    cells.append(b.getvalue())
    labels.append("ab"[i % 2])
pq.write_table(pa.table({"image": pa.array(cells, pa.binary()), "label": labels}), out / "data.parquet")
