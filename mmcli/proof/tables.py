"""The report's tables, from the figures of an evaluation. Computes no score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmcli.reporting.classes import ClassScore
from mmcli.reporting.grid import Cell, Grid
from mmcli.reporting.metrics import shown
from mmcli.reporting.words import meaning

_ACROSS, _MODEL = 142, 24
"""Characters that go across a wide page, and those of them for the models' names."""
Columns = list[tuple[str, list[Cell]]]
"""Heads with the cells below them."""
FINDING = ("recall_at_1", "recall_at_5", "recall_at_10", "mrr", "ndcg")
"""What is told of columns that find each other."""
ALIKE = "Pairs of rows: of one that are the least alike, and of two that are the most."
FOUND_INSTEAD = "Rows whose own is found late, each with the row whose cell is found first instead."
"""What pairs of rows are shown for."""


def leaderboard(entries: Sequence[Mapping[str, Any]], metrics: Sequence[str], primary: str, judged: str) -> list[Grid]:
    """Every model with the primary metric, how much better the `judged` one is, and the others; as many tables as it takes."""
    strong = [place for place, entry in enumerate(entries) if entry["kind"] in {"fused", "folded", "refit", "optimized"}]
    columns: Columns = [
        (meaning(name).name, [_score(entry["metrics"][name]) for entry in entries])
        for name in (primary, *(name for name in metrics if name != primary))
    ]
    columns.insert(1, (f"{judged} over it", [_compared(entry) for entry in entries]))
    found = []
    for number, part in enumerate(_fitting(columns)):
        names = [Cell(entry["label"], entry["what"] if not number else "") for entry in entries]
        rows = list(zip(names, *(cells for _, cells in part), strict=True))
        caption = "More metrics of every model" if number else "Every model on the test rows"
        found.append(Grid.of(caption, ["model", *(head for head, _ in part)], rows, (0,), strong))
    return found


def _fitting(columns: Columns) -> list[Columns]:
    """The columns in parts that a wide page has room for, beside the models' names."""
    parts: list[Columns] = [[]]
    room = _ACROSS - _MODEL
    for head, cells in columns:
        width = max(len(part) for part in (*head.split(), *(part for cell in cells for part in cell))) + 2
        if width > room and parts[-1]:
            parts.append([])
            room = _ACROSS - _MODEL
        parts[-1].append((head, cells))
        room -= width
    return parts


def _score(own: Mapping[str, float]) -> Cell:
    return Cell(shown(own["value"]), _interval(own))


def _compared(entry: Mapping[str, Any]) -> Cell:
    """How much better the judged one is: the difference, and below it its interval and the p-value."""
    if not entry["gain"]:
        return Cell("")
    value, _, interval = entry["gain"].partition(" ")
    return Cell(value, interval + (f" p {entry['mcnemar']}" if entry["mcnemar"] else ""))


def _signed(own: Mapping[str, float]) -> Cell:
    """A difference, with its sign."""
    return Cell(f"{own['value']:+.3f}", f"[{own['low']:+.3f}, {own['high']:+.3f}]")


def _interval(own: Mapping[str, float]) -> str:
    if own["low"] != own["low"]:  # not a number: there is no score
        return ""
    return f"{shown(own['low'])}\u00a0–\u00a0{shown(own['high'])}"


def classes(scores: Sequence[ClassScore], called: str) -> Grid:
    """Precision, recall, F1 and rows of each class or label, the weakest first; those without rows last."""
    order = sorted(scores, key=lambda own: (not own.rows, own.f1 if own.f1 is not None else 1.0, own.name))
    rows = [[own.name, f"{own.rows:,}", *(_share(v) for v in (own.precision, own.recall, own.f1))] for own in order]
    return Grid.of(f"Each {called} on the test rows", [called, "rows", "precision", "recall", "F1"], rows)


def _share(value: float | None) -> str:
    return "–" if value is None else shown(value)


def subsets(found: Sequence[Mapping[str, Any]], primary: str) -> Grid:
    """The score with each subset of the inputs."""
    rows = [[", ".join(own["inputs"]) or "none", _score(own)] for own in found]
    return Grid.of("The score with some of the inputs", ["inputs given", meaning(primary).name], rows)


def permutation(found: Mapping[str, Mapping[str, float]], weights: Mapping[str, float] | None, primary: str) -> Grid:
    """What is lost when an input's cells are exchanged among the rows, and how much of it enters the fusion."""
    header = ["input", f"{meaning(primary).name} {'added' if primary == 'loss' else 'lost'}", *(["weight"] if weights else [])]
    rows = []
    for name, own in found.items():
        entering = [(e, w) for e, w in (weights or {}).items() if e == name or e.startswith(f"{name}/")]
        said = ", ".join(f"{shown(w)} ({e.rpartition('/')[2]})" if len(entering) > 1 else shown(w) for e, w in entering)
        rows.append([name, f"{shown(own['drop'])} ± {shown(own['deviation'])}", *([said] if weights else [])])
    return Grid.of("What is lost when an input's cells are exchanged among the rows", header, rows, (0, 2))


def weakest(found: Sequence[Mapping[str, Any]], higher: bool) -> list[Mapping[str, Any]]:
    """Slices that the primary metric is told of, the weakest first."""
    return sorted((own for own in found if "metric" not in own), key=lambda own: own["value"], reverse=not higher)


def slices(found: Sequence[Mapping[str, Any]], primary: str, higher: bool) -> Grid:
    """The score of parts of the test rows, the weakest first; and by how much it is better than that of the best column. Last
    those that have another score, since all their rows are of one kind."""
    order = weakest(found, higher)
    order += sorted((own for own in found if "metric" in own), key=lambda own: -own["value"])
    beside = any("over_best_column" in own for own in found)
    rows = [
        [
            own["kind"],
            own["name"],
            f"{own['n']:,}",
            _score(own) if "metric" not in own else Cell(f"{own['metric'].upper()} {shown(own['value'])}", _interval(own)),
            *([_signed(own["over_best_column"]) if "over_best_column" in own else ""] if beside else []),
        ]
        for own in order
    ]
    header = ["slice", "value", "rows", meaning(primary).name, *(["over the best column"] if beside else [])]
    return Grid.of("The score of parts of the test rows", header, rows, (0, 1))


def operating_points(found: Sequence[Mapping[str, float]]) -> Grid:
    """What thresholds accept: impostors at most, and true pairs with the interval of their share. Thresholds are log-odds
    beside the probability; or, where there is none, similarities."""
    rows = [
        [
            f"{own['far']:g}",
            *(
                [f"{own['threshold']:.2f}", f"{own['probability']:.6f}"]
                if "probability" in own
                else [f"{own['threshold']:.4f}"]
            ),
            Cell(shown(own["tar"]), f"{shown(own['low'])} – {shown(own['high'])}"),
        ]
        for own in found
    ]
    scales = ["threshold, log-odds", "as a probability"] if "probability" in found[0] else ["threshold, similarity"]
    header = ["impostors accepted, at most (FAR)", *scales, "true pairs accepted (TAR)"]
    return Grid.of("What thresholds accept", header, rows)


def retrieval(test: Mapping[str, Any]) -> Grid:
    """Each direction with its intervals, and the first of each baseline below the model's."""
    rows = []
    for name, own in test["retrieval"].items():
        cells = [Cell(shown(own[m]["value"]), f"[{shown(own[m]['low'])}, {shown(own[m]['high'])}]") for m in FINDING]
        beside = [shown(each[name]["recall_at_1"]["value"]) for each in test["retrieval_baselines"].values() if name in each]
        rows.append([name.replace("->", " \u2192 "), *cells, *beside, f"{own['gallery']:,}"])
    baselines = [f"R@1, {name}" for name in test["retrieval_baselines"]]
    header = ["from, to", *(meaning(name).name for name in FINDING), *baselines, "found among"]
    return Grid.of("How well columns find each other", header, rows)


def suspects(found: Sequence[Mapping[str, Any]], called: str) -> Grid:
    """Rows whose target may be wrong."""
    rows = [[own["row"], own["split"], own["given"], shown(own["share"]), own["likely"]] for own in found]
    header = [called, "split", "target given", "its probability", "more likely"]
    return Grid.of("Rows whose target may be wrong", header, rows, (0, 1, 2, 4))


def steps(found: Sequence[Mapping[str, Any]], primary: str) -> Grid:
    """The steps towards accuracy, each with the score after it."""
    rows = [[own["step"], own["result"], shown(own["score"]), shown(own["loss"])] for own in found]
    return Grid.of("Steps towards accuracy", ["step", "result", f"val {meaning(primary).name}", "val loss"], rows, (0, 1))


def models(header: Sequence[str], cells: Sequence[Sequence[str]], picked: str) -> Grid:
    """The models that were tried, the picked one standing out."""
    strong = [place for place, row in enumerate(cells) if row[0] == picked]
    names = ["model", "picked?", *header[2:]]
    return Grid.of("Models that were tried, with what they cost", names, cells, (0, 1), strong)


def inputs(found: Sequence[Mapping[str, Any]], primary: str) -> Grid:
    """What the model reads, and by which sub-models."""
    header = ["input", "kind", "sub-model", f"val {meaning(primary).name} alone", "parameters", "absent in test"]
    rows = [
        [own["name"], own["modality"], own["encoder"], shown(own["val"]), f"{own['parameters']:,}", f"{own['absent']:,}"]
        for own in found
    ]
    return Grid.of("What the model reads", header, rows, (0, 1, 2))
