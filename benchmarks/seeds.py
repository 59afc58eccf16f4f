"""Three heads of F trained one after the other beside the three as one network with a leading axis: CPU ms of a step.

    python benchmarks/seeds.py [--rows 64] [--steps 300]

What `torch.func.vmap` would win, and cost the loop: docs/design.md. One thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SEEDS, WIDTHS, CLASSES = 3, (96, 64), 10


class Head(nn.Module):
    """What `concat` is over two pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 128), nn.GELU(), nn.Dropout(0.2)) for width in WIDTHS
        )
        self.answer = nn.Sequential(nn.Linear(256, 128), nn.GELU(), nn.Dropout(0.3), nn.Linear(128, CLASSES))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        found: Tensor = self.answer(torch.cat([read(own) for read, own in zip(self.read, (first, second), strict=True)], 1))
        return found


def one(head: nn.Module, optimizer: torch.optim.Optimizer, rows: list[Tensor]) -> None:
    """A step of one head."""
    F.cross_entropy(head(*rows[:2]), rows[2], label_smoothing=0.1).backward()
    nn.utils.clip_grad_norm_(head.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def together(
    loss: Callable[..., Tensor], weights: dict[str, Tensor], optimizer: torch.optim.Optimizer, rows: list[Tensor]
) -> None:
    """A step of all of them at once, each clipped by itself."""
    loss(weights, *rows).sum().backward()
    gradients = [own.grad for own in weights.values() if own.grad is not None]
    norms = torch.stack([own.flatten(1).square().sum(1) for own in gradients]).sum(0).sqrt()
    for own in gradients:
        own.mul_((1 / norms).clamp(max=1).view(-1, *[1] * (own.dim() - 1)))
    optimizer.step()
    optimizer.zero_grad()


def milliseconds(step: Callable[[], None], steps: int) -> float:
    """Of CPU time, a step."""
    for _ in range(30):
        step()
    started = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - started) / steps * 1000


def main() -> None:
    """Both, twice, in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    told = parser.parse_args()
    torch.set_num_threads(1)
    rows = [*(torch.randn(told.rows, width) for width in WIDTHS), torch.randint(CLASSES, (told.rows,))]
    head, heads, empty = Head(), [Head() for _ in range(SEEDS)], Head().to("meta")
    alone = partial(one, head, torch.optim.AdamW(head.parameters(), fused=True), rows)
    weights = {name: own.detach().requires_grad_() for name, own in torch.func.stack_module_state(heads)[0].items()}  # type: ignore[arg-type]

    def loss(own: dict[str, Tensor], first: Tensor, second: Tensor, right: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(empty, own, (first, second)), right, label_smoothing=0.1)

    every = torch.func.vmap(loss, randomness="different")
    copies = [own.expand(SEEDS, *own.shape).clone() for own in rows]
    batched = partial(together, every, weights, torch.optim.AdamW(list(weights.values()), fused=True), copies)
    for _ in range(2):
        apart, at_once = SEEDS * milliseconds(alone, told.steps), milliseconds(batched, told.steps)
        print(f"{SEEDS} steps {apart:.2f} ms, one of all {at_once:.2f} ms")


if __name__ == "__main__":
    main()
