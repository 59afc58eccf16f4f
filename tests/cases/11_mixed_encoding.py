"""GB18030 table in which one cell was pasted from UTF-8 / is cut in the middle of a character, far from the first one.
EXPECT: DataError naming the line (as --encoding does), no traceback.
RUN: mmcli inspect data.csv
"""

import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rows = ["备注,x,label"] + [f"这是第{i}条很好的服务评价,{i * 0.7 % 3:.2f},{'ab'[i % 2]}" for i in range(60)]
data = [r.encode("gb18030") for r in rows]
data[50] = "这条".encode("gb18030") + b"\xff\xfe" + b",1.0,a"
(out / "data.csv").write_bytes(b"\n".join(data) + b"\n")
