"""What a model's outputs say: classes, labels, numbers or texts, as `mmcli predict` writes them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from mmcli.exports.lookup import as_lists
from mmcli.exports.reading import Texts
from mmcli.exports.writing import Written, ctc_log_probability, ranked
from mmcli.text.words import Timed, in_seconds, timed, untimed

Array = np.ndarray[Any, np.dtype[Any]]
Answers = dict[str, list[Any]]
"""Column -> one value a row."""


def decode(about: Mapping[str, Any], outputs: Array) -> Answers:
    """The prediction columns of outputs [B, num_outputs], vectors as lists; of columns that belong together [B, C, D]."""
    task = about["task"]
    if "columns" in task:
        return _together(about["target"], task["columns"], outputs)
    if task["link"] == "embedding":
        return {f"{about['target']}_embedding": as_lists(outputs)}
    of = {"softmax": _classes, "sigmoid": _labels, "identity": _numbers}[task["link"]]
    of = {"match": _pairs, "ordinal": _ranks}.get(task.get("kind", ""), of)
    found, quantiles = of(task, outputs.astype(np.float64)), task["state"].get("levels", {})
    named = {suffix: about["target"] + ("" if suffix[1:] in quantiles else "_predicted") + suffix for suffix in found}
    return {named[suffix]: cells for suffix, cells in found.items()}


def _together(target: str, columns: Sequence[str], vectors: Array) -> Answers:
    """How alike the columns of a row are, the mean of every two that are there and each two; and the vector of each column."""
    here, told, pairs = (vectors != 0).max(2), Answers(), list(combinations(range(len(columns)), 2))
    both = np.stack([here[:, one] & here[:, other] for one, other in pairs], 1)
    alike = np.stack([(vectors[:, one] * vectors[:, other]).sum(1) for one, other in pairs], 1).astype(np.float64)
    mean = (alike * both).sum(1) / np.maximum(both.sum(1), 1)
    told[f"{target}_predicted"] = _where(both.max(1), mean.round(6).tolist())
    for place, (one, other) in enumerate(pairs):
        told[f"{target}_predicted_{columns[one]}_{columns[other]}"] = _where(both[:, place], alike[:, place].round(6).tolist())
    lists = {
        f"{target}_embedding_{name}": _where(here[:, place], as_lists(vectors[:, place])) for place, name in enumerate(columns)
    }
    return told | lists


def _where(here: Array, cells: Sequence[Any]) -> list[Any]:
    return [cell if there else None for there, cell in zip(here.tolist(), cells, strict=True)]


def read(about: Mapping[str, Any], outputs: Array, steps: Array, texts: Sequence[Texts], count: int = 1) -> Answers:
    """The prediction columns of texts that `reading` found in log-probabilities [B, T, V], of which `steps` [B] are each row's:
    the best, how sure it is, and `count` less one others."""
    rows, sure = zip(outputs, steps.tolist(), texts, strict=True), []
    for frames, length, (best, *_) in rows:
        sure.append(_sure(about["task"], ctc_log_probability(frames[:length].astype(np.float64), best), len(best)))
    return _texts(about, texts, sure, count)


def words(
    task: Mapping[str, Any], outputs: Array, steps: Array, texts: Sequence[Texts], frames: Array, heard: Array
) -> list[list[Timed]]:
    """Of each row the words of the best text in seconds, by its own `steps` [B] of log-probabilities [B, T, V], which so many
    `frames` [B] of a recording led to; without times where it was not `heard` [B]."""
    how, units, found = task["words"], task["units"], []
    rows = zip(outputs, texts, *(own.tolist() for own in (steps, frames, heard)), strict=True)
    for values, (best, *_), length, count, there in rows:
        own = timed(values[:length], best, lambda ids: _spelt(ids, units["kind"], units["units"]), how["each_letter"])
        in_time = in_seconds(own, length, count, how["stride"], how["frame_s"]) if there else untimed(own)
        found.append(in_time)
    return found


def told(about: Mapping[str, Any], written: Sequence[Written], count: int = 1) -> Answers:
    """The same of what was written unit by unit: see `writing.write`."""
    found = [ranked(own, about["task"]["search"]["exponent"]) for own in written]
    sure = [_sure(about["task"], total, len(ids)) for (ids, total), *_ in found]
    return _texts(about, [[ids for ids, _ in own] for own in found], sure, count)


def _texts(about: Mapping[str, Any], texts: Sequence[Texts], sure: list[float], count: int) -> Answers:
    """Others than the best are absent where there are no more that differ."""
    units, name = about["task"]["units"], f"{about['target']}_predicted"
    spelt = [list(dict.fromkeys(_spelt(ids, units["kind"], units["units"]) for ids in own)) for own in texts]
    others = {f"{name}_nbest_{place + 1}": [[*own, *[None] * count][place] for own in spelt] for place in range(1, count)}
    return {name: [own[0] for own in spelt], f"{name}_confidence": sure, **others}


def _sure(task: Mapping[str, Any], log_probability: float, units: int) -> float:
    """The share of a text's units that is expected to be right: a logistic curve over its log-probability a unit, the end
    counted, or, where there is none, that probability."""
    a_unit = min(log_probability / (units + 1), 0.0)
    if not task.get("certainty"):
        return round(math.exp(a_unit), 6)
    slope, intercept = task["certainty"]
    return round(1 / (1 + math.exp(-min(max(slope * a_unit + intercept, -60.0), 60.0))), 6)


def _spelt(numbers: Sequence[int], kind: str, units: Sequence[str]) -> str:
    found = (" " if kind == "word" else "").join(units[number - 1] for number in numbers)
    return (found.encode("latin-1").decode("utf-8", "replace") if kind == "bpe" else found).strip()


def _classes(task: Mapping[str, Any], outputs: Array) -> Answers:
    shares = softmax(outputs)
    return _told(task["names"], shares, shares.argmax(1))


def _ranks(task: Mapping[str, Any], outputs: Array) -> Answers:
    """Of classes in order the first up to which half of the probability lies; half but for rounding is half."""
    shares = softmax(outputs)
    return _told(task["names"], shares, np.minimum((shares.cumsum(1) < 0.5 - 1e-9).sum(1), shares.shape[1] - 1))


def _told(names: Sequence[str], shares: Array, chosen: Array) -> Answers:
    """The classes that are chosen [B], with the probabilities [B, C] of all."""
    sure = shares[np.arange(len(chosen)), chosen]
    columns: Answers = {"": [names[i] for i in chosen], "_probability": sure.round(6).tolist()}
    return columns | {f"_probability_{name}": shares[:, i].round(6).tolist() for i, name in enumerate(names)}


def _pairs(task: Mapping[str, Any], outputs: Array) -> Answers:
    """Whether columns belong together, and the probability that they do."""
    together = softmax(outputs)[:, 1]
    return {"": [task["names"][int(own > 0.5)] for own in together], "_probability": together.round(6).tolist()}


def _labels(task: Mapping[str, Any], outputs: Array) -> Answers:
    """Logits, and beside them the thresholds that they must pass."""
    names, mark = task["names"], task["state"]["config"]["separator"]
    logits, thresholds = outputs[:, : len(names)], outputs[:, len(names) :]
    chosen = [[name for name, here in zip(names, row, strict=True) if here] for row in logits > thresholds]
    lists = task["state"]["lists"]
    columns: Answers = {"": [json.dumps(row, ensure_ascii=False) if lists else mark.join(row) for row in chosen]}
    for place, name in enumerate(names):
        columns[f"_probability_{name}"] = [round(p, 6) for p in sigmoid(logits[:, place]).tolist()]
    return columns


def _numbers(task: Mapping[str, Any], outputs: Array) -> Answers:
    """Standardised numbers, in the units of the table again; quantiles with their shifts beside them, put in order."""
    names, state = task["names"], task["state"]
    levels = state.get("levels", {})
    if levels:
        outputs = np.sort(outputs[:, : len(levels)] + outputs[:, len(levels) :], axis=1)
    values = outputs * np.array(state["std"]) + np.array(state["mean"])
    if state["config"]["scale"] == "log":
        values = np.sign(values) * np.expm1(np.minimum(np.abs(values), 700.0))
    if levels:
        each = {f"_{name}": written(values[:, place], state, 0) for place, name in enumerate(levels)}
        return {"": each["_q50"], **each}
    suffixes = [""] if len(names) == 1 else [f"_{name}" for name in names]
    return {suffix: written(values[:, place], state, place) for place, suffix in enumerate(suffixes)}


def written(values: Array, state: Mapping[str, Any], place: int) -> list[float | int]:
    """Numbers of one target with as many digits as its deviation gives a meaning to."""
    base, log = state["bases"][place], state["config"]["scale"] == "log"
    found: list[float | int] = []
    for value in values.tolist():
        rounded = round(value, 5 - math.floor(math.log10(state["std"][place] * (1 + abs(value) if log else 1.0))))
        found.append(base + round(rounded) if base else rounded)
    return found


def softmax(outputs: Array) -> Array:
    """Probabilities of classes, [B, C]."""
    shares = np.exp(outputs - outputs.max(1, keepdims=True))
    result: Array = shares / shares.sum(1, keepdims=True)
    return result


def sigmoid(logits: Array) -> Array:
    """Probabilities of labels."""
    low = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + low), low / (1 + low))
