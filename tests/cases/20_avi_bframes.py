"""Clips with B-frames in AVI (XviD, H.264) and MPEG-PS / MPEG-1, as old archives and recorders hold; moving picture, key
frame every 50 frames.
EXPECT: eight frames, each the one on show at that time (the number of the frame is drawn as 8 black/white bars); never
a reject, never another frame.
RUN: this script prints wanted and found frame numbers (mmcli.modalities.video.decode), and those of PyAV's plain
sequential decoding.
"""

import pathlib
import sys

import av
import numpy as np

from mmcli.modalities.video import Config, decode

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
g = np.random.default_rng(0)
tex = g.integers(60, 200, (96, 512, 3)).astype(np.uint8)
tex = tex.repeat(4, 0).repeat(4, 1)[:96]


def pic(k):
    a = tex[:96, 2 * k % 1500 : 2 * k % 1500 + 128].copy()
    for b in range(8):
        a[:40, b * 16 : (b + 1) * 16] = 235 if k >> b & 1 else 16
    return a


def number(p):  # [H, W, 3] any size
    h, w = p.shape[:2]
    row = p[h // 8 : h // 3].mean((0, 2))
    return sum((row[int((b + 0.5) * w / 8)] > 125) << b for b in range(8))


def make(path, codec, n=200, rate=25, **opt):
    c = av.open(str(path), "w")
    s = c.add_stream(codec, rate=rate)
    s.width, s.height, s.pix_fmt, s.bit_rate = 128, 96, "yuv420p", 1_500_000
    s.options = opt
    for k in range(n):
        f = av.VideoFrame.from_ndarray(pic(k), format="rgb24").reformat(format="yuv420p")
        f.pts = k
        for p in s.encode(f):
            c.mux(p)
    for p in s.encode():
        c.mux(p)
    c.close()


for name, codec, o in [
    ("xvid.avi", "mpeg4", {}),
    ("xvid_b.avi", "mpeg4", {"bf": "2", "g": "50"}),
    ("h264_b.avi", "libx264", {"bf": "3", "g": "50"}),
    ("h264_b.mp4", "libx264", {"bf": "3", "g": "50"}),
    ("h264_b.mkv", "libx264", {"bf": "3", "g": "50"}),
    ("h264_b.ts", "libx264", {"bf": "3", "g": "50"}),
    ("mpeg2_b.mpg", "mpeg2video", {"bf": "2", "g": "50"}),
    ("mpeg1_b.mpg", "mpeg1video", {"bf": "2", "g": "50"}),
    ("mpeg2_b.ts", "mpeg2video", {"bf": "2", "g": "12"}),
    ("wmv2.wmv", "wmv2", {"g": "50"}),
    ("divx3.avi", "msmpeg4", {"g": "50"}),
    ("mpeg4_b.mp4", "mpeg4", {"bf": "2", "g": "50"}),
]:
    p = out / name
    try:
        make(p, codec, **o)
    except Exception as e:
        print(name, "cannot be made", e)
        continue
    c = av.open(str(p))
    seq = [number(f.to_ndarray(format="rgb24")) for f in c.decode(video=0)]
    c.close()
    want = [int((i + 0.5) * 25) for i in range(8)]
    told = f"{name:12} sequential ok: {seq == list(range(len(seq)))} ({len(seq)})"
    try:
        px, t, _ = decode(str(p), Config(frames=8))
        got = [int(number(x.permute(1, 2, 0).numpy().astype(float))) for x in px]
        print(f"{told}  wanted {want} got {got} {'OK' if want == got else 'WRONG'}")
    except Exception as e:
        print(f"{told}  REJECT {e}")
