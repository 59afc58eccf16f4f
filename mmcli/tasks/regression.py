"""One number or several for each row, standardised inside, reported in the table's units; primary mae (of several r2)."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from mmcli.config import Config as BaseConfig
from mmcli.errors import DataError
from mmcli.judging.numbers import OfNumbers
from mmcli.judging.quantiles import Levels, Shifts
from mmcli.reporting import charts, metrics, quantile_metrics
from mmcli.reporting.metrics import Array, Metric
from mmcli.reporting.svg import Figure
from mmcli.signals import Decision
from mmcli.tables.numbers import EXACT, NumberFormat, is_number, span, study
from mmcli.tasks import Cells, Likeness, Task


class Config(BaseConfig):
    """What is minimised, and on which scale."""

    loss: Literal["huber", "squared", "absolute"] = "huber"
    """Of the standardised error: squared up to `delta` and straight, with slope one, beyond; squared; or absolute."""
    delta: float = Field(0.1, gt=0)
    """Where the Huber loss turns straight, in standard deviations of the target."""
    scale: Literal["auto", "linear", "log"] = "auto"
    """`log` learns sign(y) log(1 + |y|), for targets over several orders of magnitude; `auto` does where the target is skewed
    and train rows show a gain (--target-transform)."""
    decimal: Literal["auto", "point", "comma"] = "auto"
    """What stands before the decimals; by default what the cells of the column show."""
    quantiles: tuple[float, ...] = ()
    """Which quantiles are answered, learnt by the pinball loss instead (--quantiles); 0.5, the prediction, is always one."""

    @field_validator("quantiles")
    @classmethod
    def _levels(cls, quantiles: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 1e-6 <= level <= 1 - 1e-6 for level in quantiles) or len(set(quantiles)) < len(quantiles):
            raise ValueError(f"expected different numbers between 0 and 1, not {quantiles}")
        return tuple(sorted(quantiles))

    @model_validator(mode="after")
    def _one_loss(self) -> Self:
        if self.quantiles and self.loss != "huber":
            raise ValueError(f"quantiles are learnt by the pinball loss: {self.loss} would do nothing")
        return self

    @property
    def mark(self) -> str:
        """The mark before the decimals that was told; empty if none was."""
        return {"auto": "", "point": ".", "comma": ","}[self.decimal]


class Regression(OfNumbers, Task):
    """Outputs are standardised numbers, one to a target column. Their mean absolute error in the table's units is primary;
    of several target columns, whose units differ, the mean R2. Of quantiles: see `mmcli.judging.quantiles`."""

    constant_name: str = "mean"
    must_vary: ClassVar[bool] = True
    weighable: ClassVar[bool] = True

    def __init__(
        self,
        config: Config,
        names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        forms: Sequence[NumberFormat] = (),
        bases: Sequence[int] = (),
    ) -> None:
        self.config = config
        self.names = list(names)
        self.forms = list(forms) or [NumberFormat(config.mark or ".") for _ in names]
        self.bases = list(bases) or [0 for _ in names]
        """Taken off each target first, exactly: 0 but for numbers that a float cannot tell apart."""
        self.mean = np.asarray(mean, dtype=np.float64)
        self.std = np.asarray(std, dtype=np.float64)
        self.quantiles = Levels.of(config.quantiles)
        self.levels = self.quantiles.each if self.quantiles else ()
        self.constant_name = "quantiles" if self.quantiles else "mean"

    @classmethod
    def sniff(cls, config: Config, cells: Cells) -> Likeness:
        """Numbers, and too many different ones, or too unevenly spread, to be the names of classes."""
        if len(cells[0]) > 1:
            return Likeness(1.0, f"{len(cells[0])} target columns")
        found = study((str(cell) for (cell,) in cells), config.mark)
        values = found.values
        if found.share < 0.9:  # a few others are mistakes, which `check` will name
            return Likeness(0.0, "not all cells are numbers")
        counts = Counter(values)
        whole = all(float(value).is_integer() for value in counts)
        said = f"{len(counts)} different {'whole ' if whole else ''}numbers, {span(values)}"
        names = whole and (len(counts) <= 20 or _are_class_numbers(counts))
        said += f"; {found.decided}" if found.decided else ""
        return Likeness(0.0 if names or len(counts) < 3 or (found.share < 1 and len(counts) < 20) else 0.9, said)

    @classmethod
    def check(cls, config: Config, names: Sequence[str], cells: tuple[str | None, ...]) -> None:  # noqa: ARG003 - contract
        for name, cell in zip(names, cells, strict=True):
            if not is_number(str(cell)):
                raise _no_number(name, cell)

    @classmethod
    def strata(cls, config: Config, cells: Cells) -> list[str]:
        """Tenths of the first target."""
        column = [str(row[0]) for row in cells]
        form = study(column, config.mark).format
        values = np.asarray([float(form.value(cell) or 0.0) for cell in column])
        return [str(place) for place in np.searchsorted(np.quantile(values, np.arange(0.1, 1, 0.1)), values)]

    @classmethod
    def amounts(cls, config: Config, cells: Cells) -> Array | None:
        if not cells or len(cells[0]) > 1:
            return None
        found = study((str(cell) for (cell,) in cells), config.mark)
        values = [found.format.value(str(cell)) for (cell,) in cells]
        if any(value is None or abs(value) >= EXACT for value in values):
            return None
        return np.asarray(values, dtype=np.float64)

    @classmethod
    def fit(cls, config: Config, cells: Cells, names: Sequence[str]) -> Self:
        if config.quantiles and len(names) > 1:
            raise DataError(f"--quantiles are of one number, not of {', '.join(names)}", "Give one --target, or none.")
        found = [study((str(row[place]) for row in cells), config.mark) for place in range(len(names))]
        least = [min(one.values, default=0.0) for one in found]
        bases = [int(value) if value >= EXACT else 0 for value in least]
        forms = [one.format for one in found]
        zeros, ones = [0.0] * len(names), [1.0] * len(names)
        task = cls(config, names, zeros, ones, forms, bases)
        values = task._transformed(task._numbers(cells))
        if not len(values) or not np.ptp(values, 0).all():
            name = names[int(np.argmin(np.ptp(values, 0)))] if len(values) else names[0]
            raise DataError(
                f"the target {name!r} does not vary in the train split",
                "Choose another --target, or give train other rows: --split.",
            )
        return cls(config, names, values.mean(0).tolist(), values.std(0).tolist(), forms, bases)

    @property
    def metrics(self) -> dict[str, bool]:
        own = {f"mae_{name}": False for name in self.names} if len(self.names) > 1 else {}
        more = {"pinball": False} | ({"coverage": True, "width": False} if len(self.levels) > 1 else {}) if self.levels else {}
        return {name: higher for name, (_, higher) in metrics.REGRESSION.items()} | own | more

    @property
    def primary_metric(self) -> str:
        return "mae" if len(self.names) == 1 else "r2"

    @property
    def decision(self) -> Decision:
        return Decision(len(self.levels) or len(self.names), "identity")

    @property
    def num_outputs(self) -> int:
        return 2 * len(self.levels) or len(self.names)

    @property
    def target_width(self) -> int:
        return len(self.names)

    def decision_head(self) -> nn.Module:
        return Shifts(len(self.levels)) if self.levels else nn.Identity()

    def settle(self, decide: nn.Module, outputs: Tensor, targets: Tensor) -> None:
        """Moves quantiles to where as many val rows lie below them as they say."""
        if self.quantiles:
            assert isinstance(decide, Shifts)
            own = outputs[:, : len(self.levels)].cpu()
            decide.shifts.copy_(self.quantiles.shifts(own, self.parted(targets)[0].cpu()))

    def encode(self, cells: Cells) -> Tensor:
        """Standardised, float32 [N, K]."""
        return torch.from_numpy((self._transformed(self._numbers(cells)) - self.mean) / self.std).float()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over rows and targets, each row times its weight where it has one."""
        right, weights = self.parted(targets)
        if self.quantiles:
            each = self.quantiles.pinball(outputs[:, : len(self.levels)].float(), right)
            return each.mean() if weights is None else (each * weights).mean()
        how = "mean" if weights is None else "none"
        if self.config.loss == "huber":
            losses = F.smooth_l1_loss(outputs.float(), right, beta=self.config.delta, reduction=how)
        else:
            losses = (F.mse_loss if self.config.loss == "squared" else F.l1_loss)(outputs.float(), right, reduction=how)
        return losses if weights is None else (losses.mean(1) * weights).mean()

    def measures(self) -> dict[str, Metric]:
        if self.quantiles:
            return self._of_quantiles(self.quantiles)

        def own(place: int) -> Metric:
            return lambda one, right, weights: metrics.mae(one[:, [place]], right[:, [place]], weights)

        def loss(one: Array, right: Array, weights: Array) -> Array:
            errors = np.abs(self._transformed(one) - self._transformed(right)) / self.std
            result: Array = weights @ self._penalty(errors).mean(1) / weights.sum(1)
            return result

        several = {f"mae_{name}": own(place) for place, name in enumerate(self.names)} if len(self.names) > 1 else {}
        return {"loss": loss, **{name: metric for name, (metric, _) in metrics.REGRESSION.items()}, **several}

    def _of_quantiles(self, levels: Levels) -> dict[str, Metric]:
        """The metrics of numbers are those of the middle one."""
        pinball = quantile_metrics.pinball(levels.each)

        def loss(one: Array, right: Array, weights: Array) -> Array:
            return pinball(self._transformed(one) / self.std, self._transformed(right) / self.std, weights)

        found = {name: quantile_metrics.of_one(own, levels.middle) for name, (own, _) in metrics.REGRESSION.items()}
        found |= {"loss": loss, "pinball": pinball}
        return found | ({"coverage": quantile_metrics.coverage, "width": quantile_metrics.width} if len(levels) > 1 else {})

    def _penalty(self, errors: Array) -> Array:
        """What the loss makes of absolute standardised errors."""
        delta = self.config.delta
        huber = np.where(errors <= delta, np.square(errors) / (2 * delta), errors - delta / 2)
        result: Array = {"huber": huber, "squared": np.square(errors), "absolute": errors}[self.config.loss]
        return result

    def readings(self, outputs: Tensor, targets: Tensor) -> tuple[Array, Array]:
        """In the table's units, float64 [N, K], or all quantiles and [N, 1]; `bases` are left off, which no float could hold
        beside the digits."""
        return self.values(self._answers(outputs)), self.values(self.parted(targets)[0])

    def _answers(self, outputs: Tensor) -> Tensor:
        """What outputs say on the scale that is learnt: a number of each target, or the quantiles of one, rising."""
        return self.quantiles.answers(outputs) if self.quantiles else outputs

    def values(self, standardised: Tensor) -> Array:
        """The numbers that outputs or encoded targets stand for."""
        scaled = standardised.double().cpu().numpy() * self.std + self.mean
        if self.config.scale == "log":
            scaled = np.sign(scaled) * np.expm1(np.minimum(np.abs(scaled), 700.0))
        result: Array = scaled
        return result

    def strayed(self, outputs: Tensor, targets: Tensor) -> Array:
        """How far off outputs are on the scale that is learnt, float64 [N, K]; of quantiles how far outside the outermost ones,
        [N, 1], below zero inside (Romano et al. 2019)."""
        own, right = self._answers(outputs.double()), self.parted(targets)[0].double()
        far = torch.maximum(own[:, :1] - right, right - own[:, -1:]) if self.quantiles else (own - right).abs()
        result: Array = (far * torch.from_numpy(self.std)).cpu().numpy()
        return result

    def around(self, outputs: Tensor, distance: Array) -> tuple[Array, Array]:
        """The ends in the table's units, [N, K] each, of what lies so near [K] to outputs on the scale that is learnt; of
        quantiles, of what lies so little outside, and never less than nothing."""
        wide, own = torch.from_numpy(distance / self.std), self._answers(outputs.double().cpu())
        low, high = (own[:, :1], own[:, -1:]) if self.quantiles else (own, own)
        centre = (low + high) / 2
        return self.values(torch.minimum(low - wide, centre)), self.values(torch.maximum(high + wide, centre))

    def decode(self, outputs: Tensor) -> dict[str, list[Any]]:
        """The number, or one column for each target; of quantiles the middle one, and each."""
        values = self.values(self._answers(outputs))
        if self.quantiles:
            found = {f"_{name}": self.written(values[:, place], 0) for place, name in enumerate(self.quantiles.names)}
            return {"": found["_q50"], **found}
        ends = [""] if len(self.names) == 1 else [f"_{name}" for name in self.names]
        return {end: self.written(values[:, place], place) for place, end in enumerate(ends)}

    def column(self, target: str, suffix: str) -> str:
        return target + suffix if self.quantiles and suffix[1:] in self.quantiles.names else super().column(target, suffix)

    def worst_rows(self, outputs: Tensor, targets: Tensor, most: int) -> list[tuple[int, str]] | None:
        if not self.quantiles:
            return None
        predicted, right = self.readings(outputs, targets)
        far = np.abs(predicted[:, self.quantiles.middle] - right[:, 0])
        return [(row, f"off by {metrics.shown(float(far[row]))}") for row in np.argsort(-far)[:most].tolist()]

    def written(self, values: Array, place: int) -> list[float | int]:
        """Numbers of one target with as many digits as its deviation gives a meaning to, not as their size does."""
        shown: list[float | int] = []
        for value in values.tolist():
            spread = float(self.std[place]) * (1 + abs(value) if self.config.scale == "log" else 1.0)
            rounded = round(value, 5 - math.floor(math.log10(spread)))
            shown.append(self.bases[place] + round(rounded) if self.bases[place] else rounded)
        return shown

    def summary(self) -> str:
        units = []
        for place, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            far = self.bases[place] or abs(mean) > 1000 * std  # then what matters stands behind the first digits
            centre = str(self.written(np.array([mean]), place)[0]) if far else metrics.shown(mean)
            units.append(f"{centre} ± {metrics.shown(std)}")
        on = " on a log scale" if self.config.scale == "log" else ""
        told = f"{'a number' if len(units) == 1 else f'{len(units)} numbers'}, {'; '.join(units)} (mean, deviation){on}"
        if not self.levels:
            return told
        added = "" if 0.5 in self.config.quantiles else " (0.5, the prediction, is added)"
        return f"{told}; quantiles {', '.join(f'{level:g}' for level in self.levels)}{added}"

    def draw(self, outputs: Tensor, targets: Tensor) -> dict[str, tuple[Figure, str]]:
        """Predicted against right values, and the errors, of each target."""
        predicted, right = self.readings(outputs, targets)
        predicted = predicted[:, [self.quantiles.middle]] if self.quantiles else predicted
        found = {}
        for place, name in enumerate(self.names):
            end = "" if len(self.names) == 1 else f"_{place + 1}"
            own, wanted = predicted[:, place], right[:, place]
            bias = float((own - wanted).mean())
            few = f" {charts.MOST_DOTS:,} of {len(own):,} test rows." if len(own) > charts.MOST_DOTS else ""
            said = f"Predicted {name} against the right one: on the line they are equal.{few}"
            found[f"predicted{end}"] = (charts.scatter(own, wanted, name), said)
            said = f"How far off. On average the prediction is {metrics.shown(bias)} from the right {name}."
            found[f"errors{end}"] = (charts.errors(own - wanted, name), said)
        return found

    def more_metrics(self) -> dict[str, tuple[Metric, bool]]:
        found = metrics.MORE_OF_NUMBERS
        if any(self.bases):  # shares of the whole number would be counted of what is left of it
            found = {name: own for name, own in found.items() if name != "mape"}
        if not self.quantiles:
            return found
        middle = self.quantiles.middle
        return {name: (quantile_metrics.of_one(own, middle), higher) for name, (own, higher) in found.items()}

    def state(self) -> dict[str, Any]:
        learnt = {"names": self.names, "mean": self.mean.tolist(), "std": self.std.tolist(), "bases": self.bases}
        learnt |= {"levels": self.quantiles.names} if self.quantiles else {}
        return {"config": self.config.model_dump(), **learnt, "formats": [form.state() for form in self.forms]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        forms = [NumberFormat.from_state(form) for form in state["formats"]]
        return cls(Config(**state["config"]), state["names"], state["mean"], state["std"], forms, state["bases"])

    def _numbers(self, cells: Cells) -> Array:
        rows = []
        for row in cells:
            values = [form.value(str(cell)) for form, cell in zip(self.forms, row, strict=True)]
            for name, cell, value in zip(self.names, row, values, strict=True):
                if value is None:
                    raise _no_number(name, cell)
            rows.append([value - base for value, base in zip(values, self.bases, strict=True) if value is not None])
        return np.asarray(rows, dtype=np.float64).reshape(len(rows), len(self.names))

    def _transformed(self, values: Array) -> Array:
        result: Array = np.sign(values) * np.log1p(np.abs(values)) if self.config.scale == "log" else values
        return result


def _no_number(name: str, cell: str | None) -> DataError:
    return DataError(
        f"the target {name!r} is {cell!r}, not a number",
        f"Mend or empty the cell, say that it means missing (--na {shlex.quote(str(cell))}), or predict classes: --task "
        "classification.",
    )


def _are_class_numbers(counts: Counter[float | int]) -> bool:
    """Whether numbers are names of classes: 0 (or 1) to C without a gap, none much rarer than another."""
    low = min(counts)
    whole = low in {0.0, 1.0} and max(counts) - low + 1 == len(counts)
    return whole and min(counts.values()) >= 5 and max(counts.values()) < 10 * min(counts.values())
