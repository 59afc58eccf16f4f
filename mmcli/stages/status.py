"""status: every artifact under the root, whether it is complete and fresh, its score, and what to run next."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmcli.artifacts import layout, store
from mmcli.artifacts.history import history as history_of
from mmcli.artifacts.store import Artifact
from mmcli.errors import ArtifactError, ConfigError
from mmcli.pretrained import shelf
from mmcli.reporting.counts import counted
from mmcli.reporting.metrics import shown
from mmcli.stages import Context, Outcome

COMPLETE, STALE, UNFINISHED, DAMAGED = "complete", "stale", "unfinished", "damaged"


def run(context: Context) -> Outcome:
    """Lists artifacts; reads manifests alone."""
    root = context.root
    found = [_state(root, name) for name in _names(root)]
    if not found:
        context.console.note(f"there are no artifacts in {root}")
        step = "mmcli preprocess TABLE (or: mmcli run TABLE)"
        return Outcome({"artifacts": [], "next": step}, step)
    rows = [[entry["name"], entry["state"], entry["score"], entry["made"]] for entry in found]
    context.console.table(["artifact", " state", " score", " made"], rows)
    _say_models(context)
    step = _next(found, _untrained(root, found))
    return Outcome({"artifacts": found, "next": step}, step)


def _say_models(context: Context) -> None:
    """What lies in the folder of pretrained models, which take part in the next race."""
    try:
        found = shelf.look()
    except ConfigError as error:
        context.console.warn(f"{error.message}. {error.remedy}")
        return
    if found.models:
        told = ", ".join(f"{model.architecture} ({model.modality})" for model in found.models)
        context.console.note(f"train-encoder takes in what {shelf.VARIABLE} holds: {told}")
    if found.tabular:
        told = ", ".join(model.architecture for model in found.tabular)
        context.console.note(f"fuse asks of what {shelf.VARIABLE} holds about numbers and categories: {told}")
    for line in found.left_out:
        context.console.warn(f"{shelf.VARIABLE}: {line}")


def history(context: Context) -> Outcome:
    """Lists what was made under the root, the oldest first; what has been replaced since is marked."""
    made = history_of(context.root)
    if not made:
        context.console.note(f"nothing has been made in {context.root} yet")
        return Outcome({"history": []}, "mmcli run TABLE")
    rows = []
    for place, entry in enumerate(made):
        later = any(other["name"] == entry["name"] for other in made[place + 1 :])
        when = str(entry.get("created", ""))[:19].replace("T", " ")
        own = Artifact(context.root, entry["name"], {"kind": "", "command": "", **entry})
        score = seconds = "?"  # where the line was changed by hand
        with suppress(ArtifactError), own.understood():
            score, seconds = _score(own), f"{float(entry.get('seconds') or 0):.1f}"
        rows.append([when, entry["name"], "replaced" if later else "", score, seconds, str(entry.get("command", ""))])
    context.console.table(["made", " artifact", " ", " score", "seconds", " by"], rows)
    return Outcome({"history": made}, "")


def _names(root: Path) -> list[str]:
    names = [layout.PREPROCESS]
    names += [*layout.encoder_names(root), layout.BASELINES, *layout.fusion_names(root)]
    names += [layout.LEADERBOARD, layout.FOLDED, layout.REFIT, layout.OPTIMIZED, layout.EVALUATION]
    names += [layout.gallery(name) for name in layout.galleries(root)]
    partial = {p.relative_to(root).as_posix() for p in root.glob("**/.*.partial")} if root.is_dir() else set()
    unfinished = {path.replace("/.", "/").removeprefix(".").removesuffix(".partial") for path in partial}
    return [*dict.fromkeys([*(n for n in names if (root / n).exists()), *sorted(unfinished)])]


def _state(above: Path, called: str) -> dict[str, Any]:
    """Of an artifact as the root above calls it: one of a fold lies in that fold's root."""
    number, name = layout.in_fold(called)
    root = layout.fold(above, number)
    kind = {"encoders": "encoder", "fusions": "fusion", layout.GALLERIES: "gallery"}.get(name.partition("/")[0], name)
    blank = {"name": called, "score": "", "made": "", "metrics": {}}
    if not store.exists(root, name):
        return {**blank, "state": UNFINISHED}
    try:
        artifact = store.read(root, name, kind, "")
        parent = store.stale_parent(artifact)
        with artifact.understood("metrics"):
            score = _score(artifact)
    except ArtifactError as error:
        return {**blank, "state": f"{DAMAGED}: {error}".splitlines()[0]}
    state = f"{STALE}: {parent} has changed" if parent else COMPLETE
    made = str(artifact.manifest["created"])[:19].replace("T", " ")
    told = {"name": called, "state": state, "score": score, "made": made, "metrics": artifact.metrics}
    return {**told, "command": artifact.manifest["command"]} if kind == "gallery" else told


def _score(artifact: Artifact) -> str:
    metrics = artifact.metrics
    if artifact.manifest["kind"] == "refit" and not metrics["val"]:
        return f"{metrics['primary_metric']} about {shown(metrics['estimated'])}, as its folds"
    if "primary_metric" in metrics:
        return f"val {metrics['primary_metric']} {shown(metrics['val'][metrics['primary_metric']])}"
    if artifact.manifest["kind"] == "preprocess":
        return f"{metrics['train']:,} train, {metrics['val']:,} val, {metrics['test']:,} test rows"
    if artifact.manifest["kind"] == "gallery":
        return f"{counted(metrics['rows'], 'row')} of {counted(metrics['names'], 'name')}"
    if artifact.manifest["kind"] == "evaluation":
        name, score = next(iter(metrics["test"].items()))
        return f"test {name} {shown(score['value'])} [{shown(score['low'])}, {shown(score['high'])}]"
    return ""


def _untrained(root: Path, found: list[dict[str, Any]]) -> list[str]:
    """The inputs of the preprocessed table that no complete encoder reads."""
    complete = {entry["name"] for entry in found if entry["state"] == COMPLETE}
    if layout.PREPROCESS not in complete:
        return []
    trained = {column for column, architecture in layout.encoders(root) if layout.encoder(column, architecture) in complete}
    manifest = store.read(root, layout.PREPROCESS, "preprocess", "").manifest
    schema = manifest["config"]["schema"]
    owners = {name: schema.get("shares", {}).get(name, name) for name in schema["inputs"]}
    return list(dict.fromkeys(owner for owner in owners.values() if owner not in trained))


def _next(found: list[dict[str, Any]], untrained: list[str]) -> str:
    """What comes after what is there; before the first fusion, every input wants an encoder."""
    fresh = {entry["name"].partition("/")[0] for entry in found if entry["state"] == COMPLETE}
    if "encoders" in fresh and "fusions" not in fresh and untrained:
        return shlex.join(["mmcli", "train-encoder", *untrained])
    for folder, command in (
        (layout.PREPROCESS, "mmcli preprocess TABLE"),
        ("encoders", "mmcli train-encoder"),
        ("fusions", "mmcli fuse"),
        (layout.OPTIMIZED, "mmcli optimize"),
        (layout.EVALUATION, "mmcli evaluate"),
    ):
        if folder not in fresh:
            return command
    held = [entry for entry in found if entry["name"].startswith(f"{layout.GALLERIES}/")]
    for entry in held:
        if entry["state"].startswith(STALE):
            return f"{entry['command']} --force"
    look = ["--gallery", held[0]["name"].partition("/")[2]] if held else []
    return shlex.join(["mmcli", "predict", "TABLE", *look, "-o", "predictions.csv"])
