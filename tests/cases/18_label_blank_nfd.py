"""Class names that differ only in a trailing blank or in Unicode composition (NFC / NFD).
EXPECT: one class 'café', one class 'tea' (or a warning that names look the same).
RUN: mmcli inspect data.csv --target label
"""

import pathlib
import sys
import unicodedata as u

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
with (out / "data.csv").open("w", encoding="utf-8") as f:
    f.write("x,place,label\n")
    for i in range(80):
        c = u.normalize("NFD" if i % 3 else "NFC", "café") if i % 2 else ("tea" if i % 5 else "tea ")
        f.write(f"{i * 0.7 % 3:.2f},{u.normalize('NFD' if i % 3 else 'NFC', 'Zürich') if i % 4 else 'Bern'},{c}\n")
