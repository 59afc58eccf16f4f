"""How fast galleries are, beside faiss-cpu's exact index (IndexFlatIP), on one core, in the same run.

    pip install faiss-cpu && python benchmarks/search.py [--rows 100000] [--width 128] [--json] [--check]

Kept and read again: the vectors as an artifact with what its rows are called, flushed and verified, beside `write_index` and
`read_index` of the vectors alone. Searched: one query (the five most alike), and a thousand (the ten most alike). A ratio is
faiss's time by ours; of searching at least 1 / 1.5 is wanted. Times are the least of some repeats, in turn; of searching in
seconds of the processor.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import pandas as pd
import torch
from _table import Row, finish, options

from mmcli.artifacts import layout, store
from mmcli.models import gallery
from mmcli.vectors.nearest import Nearest

BAR = 1 / 1.5


def beside(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int, clock: Callable[[], float]
) -> tuple[float, float]:
    """Seconds of each, the least of the repeats, in turn."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for times, work in zip(found, (ours, theirs), strict=True):
            started = clock()
            work()
            times.append(clock() - started)
    return min(found[0][1:]), min(found[1][1:])


def enrolled(root: Path, rows: pd.DataFrame, vectors: torch.Tensor) -> gallery.Gallery:
    """Writes a gallery of the vectors, and reads it."""
    config = {"model": "", "width": vectors.shape[1], "tables": [], "columns": [], "removed": [], "index": False}
    told = {"kind": gallery.KIND, "command": "", "config": config, "seed": 0, "parents": {}, "fingerprint": ""}
    with store.writing(root, layout.gallery("g"), anew=True, **told) as draft:
        gallery.write(draft, rows, vectors, 0, indexed=False)
    return gallery.read(root, "g")


def main() -> None:
    """Measures all."""
    parser = options(str(__doc__))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=128)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(arguments.rows, arguments.width, generator=generator), dim=1).half()
    queries = torch.nn.functional.normalize(torch.randn(1000, arguments.width, generator=generator), dim=1)
    flat, asked, rows = vectors.float().numpy(), queries.numpy(), list[Row]()
    with tempfile.TemporaryDirectory() as folder:

        def theirs() -> object:
            made = faiss.IndexFlatIP(arguments.width)
            made.add(flat)
            faiss.write_index(made, f"{folder}/flat.index")
            return faiss.read_index(f"{folder}/flat.index")

        named = {gallery.ID: map(str, range(len(vectors))), gallery.NAME: (f"p{own // 4}" for own in range(len(vectors)))}
        people = pd.DataFrame({name: list(cells) for name, cells in named.items()}, dtype=object)
        times = beside(lambda: enrolled(Path(folder), people, vectors), theirs, 3, time.perf_counter)
        rows.append(told(f"{arguments.rows:,} x {arguments.width} kept and read again", *times, bar=False))
    kept, index = Nearest(vectors), faiss.IndexFlatIP(arguments.width)
    index.add(flat)
    for count, k, repeats in ((1, 5, 40), (len(asked), 10, 3)):
        ours = [lambda: kept.search(queries[:count], k), lambda: index.search(asked[:count], k)]  # noqa: B023 - called at once
        rows.append(told(f"{count:,} queries, the {k} most alike", *beside(*ours, repeats, time.thread_time)))
    finish(rows, arguments)


def told(what: str, ours: float, theirs: float, bar: bool = True) -> Row:
    """A line, with faiss's time by ours."""
    ratio = theirs / ours
    return Row(what, ours, f"faiss-cpu, {theirs:.4f} s", ratio, bar=f"{BAR:.2f}" * bar, passed=not bar or ratio >= BAR)


if __name__ == "__main__":
    main()
