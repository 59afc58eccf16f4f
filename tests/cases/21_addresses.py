"""Media named by http://localhost, zip:// archives (absolute), file:// with %20, ~ and Windows backslashes.
EXPECT: http and zip read (README: `https://`, `s3://` and whatever else fsspec knows) or the missing package named;
file:///a%20b.png is 'a b.png'; backslashes and ~ either understood or told.
RUN: see the commands printed.
"""

import pathlib
import sys
import zipfile

from PIL import Image

out = pathlib.Path(sys.argv[1]).resolve()
(out / "my pics").mkdir(parents=True, exist_ok=True)
z = zipfile.ZipFile(out / "pics.zip", "w")
T = {k: ["photo,x,label"] for k in ("http", "zip", "file", "tilde", "back", "gz", "media")}
for i in range(40):
    p = out / "my pics" / f"p{i}.png"
    Image.new("RGB", (40, 40), (220, i, 0) if i % 2 else (0, i, 220)).save(p)
    z.write(p, f"in/p{i}.png")
    end = f"{i * 0.3 % 2:.1f},{'ab'[i % 2]}"
    T["http"].append(f"http://127.0.0.1:8765/my%20pics/p{i}.png,{end}")
    T["zip"].append(f"zip://in/p{i}.png::{out}/pics.zip,{end}")
    T["file"].append(f"{(out / 'my pics' / f'p{i}.png').as_uri()},{end}")
    T["tilde"].append(f"~/pics/p{i}.png,{end}")
    T["back"].append(f"my pics\\p{i}.png,{end}")
z.close()
for k, v in T.items():
    if len(v) > 1:
        (out / f"{k}.csv").write_text("\n".join(v) + "\n")
