"""What a tabular foundation model costs beside F: CPU seconds of a TabICL of the published size, on one thread.

    python benchmarks/in_context.py [--rows 2000] [--columns 10]

Its weights are random: what it computes with them takes as long. Needs the extra `tabular`.
"""

from __future__ import annotations

import argparse
import os
import resource

import torch

from mmcli.models.in_context import MOST_ROWS, InContext, skeleton
from mmcli.pretrained.tabular import Network
from mmcli.signals import Field, Signal, SignalSpec

BATCH = 256


def spent() -> float:
    times = os.times()
    return times.user + times.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=MOST_ROWS)
    parser.add_argument("--columns", type=int, default=10)
    own = parser.parse_args()
    torch.set_num_threads(1)
    spec = SignalSpec(kind="fields", shape=(own.columns,), fields=tuple(Field(str(place)) for place in range(own.columns)))
    weights = {name: torch.randn_like(tensor) * 0.02 for name, tensor in skeleton(Network()).state_dict().items()}
    x, targets = torch.randn(own.rows + BATCH, own.columns), torch.arange(own.rows) % 3
    encoder = InContext.of(Network(), weights, x[: own.rows], targets, spec, 3)
    for what, rows in (("the context and one row", 1), (f"{BATCH} rows", BATCH), ("one row", 1)):
        started = spent()
        encoder.encode(Signal(x[own.rows :][:rows], torch.ones(rows, dtype=torch.bool)))
        print(f"{what}: {spent() - started:.2f} s of CPU")
    print(f"resident at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
