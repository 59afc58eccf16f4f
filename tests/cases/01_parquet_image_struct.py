"""Parquet as Hugging Face `datasets` writes an Image column: struct<bytes: binary, path: string>.
EXPECT: the pictures are read from `bytes` (or a clear error naming the column), never a traceback.
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
    cells.append({"bytes": b.getvalue(), "path": f"{i}.png"})
    labels.append("ab"[i % 2])
t = pa.table({"image": pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())])), "label": labels})
pq.write_table(t, out / "data.parquet")
