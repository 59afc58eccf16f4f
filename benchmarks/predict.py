"""How fast predicting is: beside the bare forward pass on rows in memory, and from a cold start.

    python benchmarks/predict.py ARTIFACTS TABLE [--rows 4096] [--json] [--check]

ARTIFACTS holds a model, TABLE rows for it. Bars: 0.8 of the bare pass (prepared batches of 256 rows, the network called on one
after the other); a start-up under 2 s beyond `import torch`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _table import Row, finish, measured, options

from mmcli.data.dataset import Dataset
from mmcli.models import forward, predictor

BATCH = 256


def best(work: Callable[[], object], times: int = 3) -> float:
    """Seconds of the fastest call, after one that does not count."""
    work()
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)


def main() -> None:
    """Measures one model."""
    parser = options(str(__doc__))
    parser.add_argument("artifacts", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--rows", type=int, default=4096)
    arguments = parser.parse_args()
    loaded, dataset = predictor.load(arguments.artifacts), Dataset.open(arguments.artifacts)
    network, compute = loaded.network, loaded.compute
    index = torch.arange(len(dataset.rows)).repeat(-(-arguments.rows // len(dataset.rows)))[: arguments.rows]
    columns = {name: dataset.column(name).select(index) for name in network.inputs}
    prepared = network.prepare(columns)
    signals = [{n: c.gather(part) for n, c in prepared.items()} for part in torch.arange(len(index)).split(BATCH)]

    @torch.no_grad()
    def bare() -> None:
        network.eval()
        with compute.autocast():
            for batch in signals:
                network(batch)

    ours, theirs = best(lambda: forward.forward_columns(network, columns, compute, BATCH)), best(bare)
    rows = [
        Row(
            f"{len(index):,} rows in memory",
            ours,
            "the bare forward pass",
            theirs / ours,
            bar="0.8",
            passed=theirs / ours >= 0.8,
        )
    ]
    with tempfile.TemporaryDirectory() as folder:
        lines = arguments.table.read_bytes().splitlines(keepends=True)[:2]
        table = arguments.table.with_name(f".one{arguments.table.suffix}")
        table.write_bytes(b"".join(lines))
        try:
            command = [sys.executable, "-m", "mmcli", "predict", str(table), "-a", str(arguments.artifacts)]
            seconds, peak, status = measured([*command, "-o", f"{folder}/p.csv", "-q"], repeats=3)
        finally:
            table.unlink()
        assert status == 0
        torch_alone, _, _ = measured([sys.executable, "-c", "import torch"], repeats=3)
    beyond = seconds - torch_alone
    rows.append(
        Row("one row from a cold start", seconds, f"+{beyond:.2f} s to import torch", None, peak, "2 s more", beyond < 2)
    )
    finish(rows, arguments)


if __name__ == "__main__":
    main()
