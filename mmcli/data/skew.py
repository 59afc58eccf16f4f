"""Whether a target that is skewed is better learnt on a log scale: decided by train rows alone, with a cheap model.

Both scales are given the same linear model of what numbers, dates, categories and texts say, by the loss that training
minimises (Huber's, by reweighting; Huber 1964), and are judged by the mean absolute error in the table's units, out of fold.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mmcli.data.dataset import cells_of
from mmcli.data.schema import Schema
from mmcli.errors import ConfigError
from mmcli.reporting.metrics import Array, shown
from mmcli.tables import dates, numbers
from mmcli.tables.reading import Table
from mmcli.tables.splitting import TRAIN, deal
from mmcli.tasks import Task
from mmcli.vectors.skewed import eased, skewness

MOST_ROWS, LEAST_ROWS = 4000, 60
"""Train rows that are looked at, evenly spaced; fewer show nothing."""
FOLDS, STRENGTHS, STEPS = 5, (1.0, 30.0), 5
BUCKETS, LETTERS = 4096, 500
"""Hashed pieces of words, and how much of a text is looked at."""
DELTA = 0.1
"""Where the loss turns straight, in deviations: that of training."""


@dataclass(frozen=True)
class Tried:
    """The errors out of fold on either scale, in the table's units, and by how many standard errors the log's is less."""

    as_it_is: float
    logged: float
    surely: float


def settled(task: type[Task], config: Any, table: Table, found: Schema, rows: pd.DataFrame, seed: int) -> tuple[Any, list[str]]:
    """The options of a task whose scale is to be chosen (`auto`), with the scale; and why, where the target is skewed."""
    if getattr(config, "scale", "") != "auto":
        return config, []
    linear = config.model_copy(update={"scale": "linear"})
    train = np.flatnonzero((rows["split"] == TRAIN).to_numpy())
    train = train[np.unique(np.linspace(0, len(train) - 1, MOST_ROWS).round().astype(int))] if len(train) > MOST_ROWS else train
    part = rows.iloc[train]
    amounts = task.amounts(linear, cells_of(part, found.targets))
    if amounts is None or len(amounts) < LEAST_ROWS or amounts.min() < 0 or np.ptp(amounts) == 0:
        return linear, []
    before, after = skewness(amounts), skewness(np.log1p(amounts))
    if not eased(before, after):
        return linear, []
    said = f"the target {found.targets[0]!r} is skewed ({before:.1f}, on a log scale {after:.1f})"
    other = "(--target-transform {} to change)"
    features = _features(table, found, train)
    if features is None:
        tell = "numbers, dates, categories or texts to try a log scale on"
        return linear, [f"{said}, and learnt as it is: there are no {tell} {other.format('log')}"]
    weights = part["weight"].to_numpy(np.float64) if "weight" in part else np.ones(len(part))
    groups = part["group"].fillna("").tolist() if "group" in part else None
    try:
        folds = np.asarray(deal(task.strata(linear, cells_of(part, found.targets)), groups, FOLDS, seed))
    except ConfigError:  # too few groups
        tell = f"groups of train to try a log scale on in {FOLDS} parts"
        return linear, [f"{said}, and learnt as it is: there are too few {tell} {other.format('log')}"]
    tried = compare(features, amounts, folds, weights)
    of = f"a linear model errs by {shown(tried.logged)} with log(1 + y), by {shown(tried.as_it_is)} without (out of fold)"
    if tried.surely > 2:
        return config.model_copy(update={"scale": "log"}), [f"{said}, and learnt on that: {of} {other.format('none')}"]
    return linear, [f"{said}, but learnt as it is: {of}, no sure gain {other.format('log')}"]


def compare(features: Any, amounts: Array, folds: Array, weights: Array) -> Tried:
    """Both scales out of fold on `features` [N, F], sparse, each at the better of `STRENGTHS`."""
    errors = []
    for logged in (False, True):
        y = np.log1p(amounts) if logged else amounts
        own = []
        for strength in STRENGTHS:
            said = np.empty(len(y))
            for fold in range(FOLDS):
                kept = folds != fold
                said[~kept] = _said(features[kept], y[kept], weights[kept], features[~kept], strength)
            made = np.expm1(np.clip(said, 0, np.log1p(amounts.max()) + 1)) if logged else said
            own.append(np.abs(made - amounts))
        errors.append(min(own, key=lambda each: float(each @ weights)))
    share = weights / weights.sum()
    gained = errors[0] - errors[1]
    mean = float(gained @ share)
    deviation = float(np.sqrt((share**2 * (gained - mean) ** 2).sum()))
    return Tried(float(errors[0] @ share), float(errors[1] @ share), mean / max(deviation, 1e-12))


def _said(x: Any, y: Array, weights: Array, other: Any, strength: float) -> Array:
    """What the model fitted to x says of other rows."""
    from sklearn.linear_model import Ridge

    centre, spread = float(np.median(y)), max(float(y.std()), 1e-12)
    right, counting = (y - centre) / spread, weights
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it could go on is no matter here
        for _ in range(STEPS):
            model = Ridge(alpha=strength, solver="sparse_cg", max_iter=100, tol=1e-3).fit(x, right, sample_weight=counting)
            counting = weights * DELTA / np.maximum(np.abs(right - model.predict(x)), DELTA)
    result: Array = model.predict(other) * spread + centre
    return result


def _features(table: Table, found: Schema, index: Array) -> Any:
    """[N, F], sparse: what a linear model may see of those rows (from 0); None where there is nothing."""
    from scipy.sparse import csr_matrix, hstack

    columns = [item for item in found.columns if item.modality in {"number", "date", "category", "text"}]
    if not columns:
        return None
    wanted = set(index.tolist())
    parts = [
        chunk.loc[[row for row in chunk.index if row in wanted]]
        for chunk in table.chunks(columns=[item.name for item in columns])
    ]
    frame = pd.concat(parts)
    blocks = []
    for item in columns:
        cells = [None if pd.isna(cell) else str(cell) for cell in frame[item.name]]
        if item.modality in {"number", "date"}:
            blocks.append(csr_matrix(_of_numbers(cells, item.modality == "date")))
        elif item.modality == "category":
            blocks.append(_hashed([cell or "" for cell in cells], "category"))
        else:
            blocks.append(_hashed([(cell or "")[:LETTERS] for cell in cells], "text"))
    return hstack(blocks).tocsr()


def _of_numbers(cells: Sequence[str | None], as_dates: bool) -> Array:
    """[N, 3]: the number and its log, standardised and 0 where there is none, and whether there is one."""
    there = [cell for cell in cells if cell is not None]
    if as_dates:
        form = dates.study(there[:500]).form
        moments = [dates.date(cell, form) if cell is not None and form else None for cell in cells]
        values = [None if moment is None else dates.days(moment) for moment in moments]
    else:
        read = numbers.study(there).format
        values = [None if cell is None else read.value(cell) for cell in cells]
    here = np.array([value is not None for value in values])
    own = np.array([0.0 if value is None else float(value) for value in values])
    found = [own, np.sign(own) * np.log1p(np.abs(own))]
    scaled = []
    for column in found:
        known = column[here]
        centre, spread = (float(known.mean()), float(known.std())) if len(known) else (0.0, 1.0)
        scaled.append(np.where(here, np.clip((column - centre) / max(spread, 1e-9), -20, 20), 0.0))
    return np.stack([*scaled, here.astype(float)], 1)


def _hashed(cells: Sequence[str], kind: str) -> Any:
    """[N, BUCKETS]: of categories the name, of texts pairs and triples of letters."""
    from sklearn.feature_extraction.text import HashingVectorizer

    how: dict[str, Any] = (
        {"analyzer": "char_wb", "ngram_range": (2, 3)} if kind == "text" else {"analyzer": lambda cell: [cell]}
    )
    return HashingVectorizer(n_features=BUCKETS, alternate_sign=False, norm="l2", **how).transform(cells)
