"""A column of phone photos named *.HEIC (and one of .amr voice notes, .mts clips, .dcm scans).
EXPECT: said to be pictures/sound in a format that is not read (or decoded); never silently learnt as text of file
names.
RUN: mmcli inspect data.csv
"""

import pathlib
import sys

out = pathlib.Path(sys.argv[1])
(out / "m").mkdir(parents=True, exist_ok=True)
head = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\0" * 400
with (out / "data.csv").open("w") as f:
    f.write("photo,voice,scan,x,label\n")
    for i in range(40):
        for e, h in (("HEIC", head), ("amr", b"#!AMR\n" + b"\x3c" * 320), ("dcm", b"\0" * 128 + b"DICM" + b"\0" * 200)):
            (out / "m" / f"IMG_{i:04}.{e}").write_bytes(h)
        f.write(f"m/IMG_{i:04}.HEIC,m/IMG_{i:04}.amr,m/IMG_{i:04}.dcm,{i * 0.3 % 2:.1f},{'ab'[i % 2]}\n")
