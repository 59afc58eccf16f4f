"""Tables as programs export them: a JSON array of records (.json), CSV with the line 'sep=;' of Excel, .csv.gz, trailing
delimiter in every line, title lines above the header.
EXPECT: read, or a clear error.
RUN: mmcli inspect each
"""

import gzip
import json
import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rows = [(round(i * 0.7 % 3, 2), f"word {i % 9} and more", "ab"[i % 2]) for i in range(60)]
(out / "array.json").write_text(json.dumps([dict(zip(("x", "text", "label"), r, strict=True)) for r in rows], indent=1))
(out / "excel.csv").write_text("sep=;\nx;text;label\n" + "".join(f"{a};{b};{c}\n" for a, b, c in rows))
with gzip.open(out / "data.csv.gz", "wt") as f:
    f.write("x,text,label\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
(out / "trailing.csv").write_text("x,text,label,\n" + "".join(f"{a},{b},{c},\n" for a, b, c in rows))
(out / "title.csv").write_text("Report of 2024\n\nx,text,label\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
(out / "oldmac.csv").write_bytes(("x,text,label\r" + "".join(f"{a},{b},{c}\r" for a, b, c in rows)).encode())
