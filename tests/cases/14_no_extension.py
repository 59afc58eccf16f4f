"""Pictures whose files have no extension (hash names, S3 keys) and paths with a trailing blank.
EXPECT: found to be pictures by opening them; or at least not learnt as text.
RUN: mmcli inspect data.csv
"""

import hashlib
import pathlib
import sys

from PIL import Image

out = pathlib.Path(sys.argv[1])
(out / "m").mkdir(parents=True, exist_ok=True)
with (out / "data.csv").open("w") as f, (out / "blank.csv").open("w") as g:
    f.write("photo,x,label\n")
    g.write("photo,x,label\n")
    for i in range(40):
        h = hashlib.md5(str(i).encode()).hexdigest()[:12]
        Image.new("RGB", (40, 40), (220, 0, 0) if i % 2 else (0, 0, 220)).save(out / "m" / h, "PNG")
        Image.new("RGB", (40, 40), (220, 0, 0) if i % 2 else (0, 0, 220)).save(out / "m" / f"{h}.png", "PNG")
        f.write(f"m/{h},{i * 0.3 % 2:.1f},{'ab'[i % 2]}\n")
        g.write(f"m/{h}.png ,{i * 0.3 % 2:.1f},{'ab'[i % 2]}\n")
