"""What decides without F, weighed on val, as members beside it: the sub-models' own decisions, and the plain model. Where F
has learnt too little, or the wrong thing, from few rows, what its columns say by themselves still counts, and so does what a
linear model says.

A member's weights, and how much it counts, are chosen on val alone, and it is taken in only where rows that did not choose
show that it pays: val is parted, and each part judged by what the others chose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mmcli.layers.optimizers import LBFGS
from mmcli.models import calibration
from mmcli.models.networks import FusionHead
from mmcli.signals import Features, FeatureTable
from mmcli.tasks import Task

METHOD, OPTIONS = "late", {"mode": "product"}
"""How decisions are joined."""
SHARES = (0.25, 0.5, 0.75, 1.0)
"""How much the member may count: all of it means that F adds nothing."""
PARTS = 5
LEAST_ROWS = 40
"""Val rows below which nothing is shown by them."""
PRIOR = 1.0
"""How strongly weights are held to be equal, in rows."""


@dataclass(frozen=True)
class Beside:
    """What val approves of."""

    share: float
    """How much the member counts."""
    temperature: float
    """By which what F says is divided before."""
    gain: float
    """By how much the loss on val rows that did not choose is lower for it; 0 where that is not known."""


@dataclass(frozen=True)
class Told:
    """The same where it is known beforehand, the means over folds."""

    share: float
    temperature: float
    own_temperature: float
    """That of the decisions themselves."""
    preference: Any
    """The weights of the decisions, nested lists of numbers."""

    def put(self, member: FusionHead) -> Beside:
        """Sets the weights and the temperature of `member`."""
        preference = member.fusion.get_parameter("preference")
        with torch.no_grad():
            preference.copy_(torch.tensor(self.preference))
            member.temperature.fill_(self.own_temperature)
        return Beside(self.share, self.temperature, 0.0)


def weigh(
    member: FusionHead, features: Mapping[str, FeatureTable], fused: Any, val: Tensor, targets: Tensor, task: Task, seed: int
) -> Beside | None:
    """Sets the weights of `member`, a fusion of decisions, on the rows `val`, and says how much it is to count beside what F
    answers to all rows, `fused` [N, ...]; None where that is nothing."""
    width = task.decision.width
    rows = {name: own.gather(val).float() for name, own in features.items()}
    other, right = fused[val][:, :width].float(), targets[val]

    def fit(kept: Tensor) -> float:
        return _fit(member, _of(rows, kept), other[kept], right[kept], task)

    return _weighed(fit, lambda part: _said(member, _of(rows, part), width), other, right, task, seed)


def weigh_known(
    member: FusionHead,
    features: Mapping[str, FeatureTable],
    fused: Any,
    val: Tensor,
    targets: Tensor,
    task: Task,
    seed: int,
    before: float = 1.0,
) -> Beside | None:
    """The same of a member that has been solved on train, whose temperature alone is set. F has the temperature `before`."""
    width, free = task.decision.width, task.decision.link != "identity"
    member.eval()
    member.temperature.fill_(1.0)
    own = _said(member, {name: found.gather(val).float() for name, found in features.items()}, width)
    other, right = fused[val][:, :width].float(), targets[val]
    decide = task.decision_head()

    def fit(kept: Tensor) -> float:
        if not free:
            return 1.0
        member.temperature.fill_(calibration.temperature(decide(own[kept]), right[kept], task))
        return calibration.temperature(decide(other[kept]), right[kept], task, before)

    return _weighed(fit, lambda part: own[part] / member.temperature, other, right, task, seed)


def _weighed(
    fit: Callable[[Tensor], float], said: Callable[[Tensor], Tensor], other: Tensor, right: Tensor, task: Task, seed: int
) -> Beside | None:
    """How much what is `said` of val rows by position, [B, C], counts beside what F says of all of them, `other` [V, C]. `fit`
    sets what says it by some of the rows, and gives F's temperature by them."""
    if len(right) < LEAST_ROWS:
        return None
    parts = torch.randperm(len(right), generator=torch.Generator().manual_seed(seed)).chunk(PARTS)
    alone, beside = torch.zeros_like(other), torch.zeros_like(other)
    for number, part in enumerate(parts):
        cool = fit(torch.cat([own for place, own in enumerate(parts) if place != number]))
        alone[part], beside[part] = other[part] / cool, said(part)

    def whole(own: Tensor) -> Tensor:
        decide = task.decision_head()
        task.settle(decide, decide(own), right)
        made: Tensor = decide(own)
        return made

    mixed = {share: whole((1 - share) * alone + share * beside) for share in SHARES}
    best = min(SHARES, key=lambda share: task.score(mixed[share], right)["loss"])
    gain = task.gain(mixed[best], whole(alone), right, seed, metric="loss")
    sign = 1 if task.primary_higher_is_better else -1
    scores = [sign * task.score(own, right)[task.primary_metric] for own in (mixed[best], whole(alone))]
    if not (gain.low > 0 and scores[0] >= scores[1]):  # nor where something is not a number
        return None
    return Beside(best, fit(torch.arange(len(right))), gain.value)


def _of(rows: Mapping[str, Features], index: Tensor) -> dict[str, Features]:
    return {name: own.gather(index) for name, own in rows.items()}


def _said(member: FusionHead, rows: Mapping[str, Features], width: int) -> Tensor:
    with torch.no_grad():
        outputs: Tensor = member.eval()(rows).outputs
        return outputs[:, :width]


def _fit(member: FusionHead, rows: Mapping[str, Features], fused: Tensor, right: Tensor, task: Task) -> float:
    """Sets the member's weights and temperature to those of least loss on the rows; gives the temperature for F's outputs."""
    member.eval()
    member.temperature.fill_(1.0)
    preference = member.fusion.get_parameter("preference")
    weights = torch.zeros_like(preference, requires_grad=True)
    heat = torch.zeros(2, requires_grad=True)
    free = task.decision.link != "identity"
    decide = task.decision_head()
    measure = partial(calibration.log_loss, task=task) if free else task.loss
    optimizer = LBFGS([weights, *([heat] if free else [])], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        own = torch.func.functional_call(member, {"fusion.preference": weights}, (rows,)).outputs[:, : fused.shape[1]]
        losses = [measure(decide(said / warm.exp()), right) for said, warm in zip((own, fused), heat, strict=True)]
        loss = losses[0] + losses[1] + (PRIOR * weights.square().sum() + 0.01 * heat.square().sum()) / len(right)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    found = weights.detach()
    with torch.no_grad():
        preference.copy_(found if bool(found.isfinite().all()) else torch.zeros_like(found))
        own, cool = heat.exp().clamp(calibration.LOWEST, calibration.HIGHEST).tolist()
        member.temperature.fill_(own)
    return float(cool)


def shares(before: Sequence[float], own: Beside) -> Sequence[float]:
    """Of the members that F is, which had these, and of the one beside them."""
    return [*[(1 - own.share) * share for share in before], own.share]
