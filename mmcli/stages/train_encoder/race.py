"""The race of `auto`: its entrants train for a while, and losers are stopped."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mmcli.artifacts import layout, store
from mmcli.artifacts.disk import swept
from mmcli.artifacts.lock import locked
from mmcli.encoders import parameter_count
from mmcli.errors import ConfigError
from mmcli.jobs import solving
from mmcli.models.recipe import build_encoder
from mmcli.options.train_encoder import Options
from mmcli.pretrained import shelf
from mmcli.reporting import strict
from mmcli.reporting.metrics import shown
from mmcli.selection import race
from mmcli.stages.train_encoder.candidates import Bench, Candidate, short_name
from mmcli.stages.train_encoder.jobs import job_for, seconds_to_read, seconds_to_tune
from mmcli.training import checkpoint
from mmcli.training.answering import outputs_of
from mmcli.training.job import Job
from mmcli.training.loop import CHECKPOINT, rehearse

FROZEN = "frozen"
"""What a row of the record says of an entrant for whose tuning there was no time."""
NOTE = "fingerprint"
"""Where an entrant's folder says what it is of."""
RECORD = ".race.json"
"""Where an input's folder keeps the record of a race that made no artifact, its winners being there."""
MOST_RACING = 0.3
"""Share of an input's time that a race may take."""
UNHURRIED = 180.0
"""Seconds that an entrant may race where nothing was said of it, however quick the others are."""


def let_race(candidates: Sequence[Candidate], bench: Bench) -> dict[str, Any]:
    """Lets the entrants that came by `auto` train for a while, and says which go on; empty where there is nothing to race."""
    entrants = [candidate for candidate in candidates if candidate.races]
    options, context = bench.options, bench.context
    if len(entrants) < 2:
        return {}
    key = _key(entrants, options)
    if not context.force and (record := _known(entrants, bench)):
        return record
    folder = race_of(context.root, entrants[0].column)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(context.root, folder.relative_to(context.root).as_posix()):
        if context.force:
            shutil.rmtree(folder)
        swept(folder, all_of_them=True)
        record = {"key": key, **_run_race(entrants, bench, folder)}
    by_hand = [candidate.architecture for candidate in candidates if not candidate.races]
    winners = [as_raced(entrant, record) for entrant in entrants if entrant.architecture in record["kept"]]
    if not context.force and all(store.up_to_date(context.root, own.name, own.fingerprint) for own in winners):
        store.write_atomic(folder.parent / RECORD, strict.text(record).encode())
    return {**record, "kept": [*record["kept"], *by_hand]}


def fresh(candidates: Sequence[Candidate], bench: Bench) -> bool:
    """Whether nothing is to be trained for these candidates of an input."""
    record = _known([candidate for candidate in candidates if candidate.races], bench)
    kept = record.get("kept", [candidate.architecture for candidate in candidates])
    return all(
        store.up_to_date(bench.context.root, own.name, as_raced(own, record).fingerprint)
        for own in candidates
        if own.architecture in kept or not own.races
    )


def as_raced(candidate: Candidate, record: Mapping[str, Any]) -> Candidate:
    """An entrant as it raced, by the record: as it is, where there was no time to tune it."""
    row = record.get("table", {}).get(candidate.architecture, {})
    return candidate.frozen if candidate.frozen is not None and row.get(FROZEN) else candidate


def _key(entrants: Sequence[Candidate], options: Options) -> str:
    return store.digest([[entrant.fingerprint for entrant in entrants], asdict(options.budget)])


def _known(entrants: Sequence[Candidate], bench: Bench) -> dict[str, Any]:
    """The record of the same race, where it was run before; else empty."""
    for own in [own for entrant in entrants for own in (entrant, entrant.frozen) if own is not None]:
        known = store.up_to_date(bench.context.root, own.name, own.fingerprint)
        if known and known.metrics.get("race", {}).get("key") == _key(entrants, bench.options):
            return dict(known.metrics["race"])
    with suppress(OSError, ValueError, IndexError, TypeError, KeyError):  # there is none, or it was changed by hand
        told = strict.numbers(json.loads((race_of(bench.context.root, entrants[0].column).parent / RECORD).read_bytes()))
        if told["key"] == _key(entrants, bench.options) and set(told["kept"]) <= {own.architecture for own in entrants}:
            return dict(told)
    return {}


def _run_race(entrants: Sequence[Candidate], bench: Bench, folder: Path) -> dict[str, Any]:
    budget, dataset = bench.options.budget, bench.dataset
    val = dataset.splits["val"]
    outputs, table = {}, {}
    quickest = float("inf")
    for entrant in entrants:
        if why := _unreadable(entrant, bench):
            bench.context.console.warn(f"{entrant.column}: {entrant.architecture} does not race: {why}")
            continue
        started = time.monotonic()
        limits = [limit for limit in (budget.seconds, bench.seconds and bench.seconds * MOST_RACING) if limit]
        seconds = min(limits) / len(entrants) if limits else None
        asked = entrant
        entrant, reading = _in_time(entrant, seconds, bench) if seconds else (entrant, 0.0)
        if seconds and reading > seconds:
            bench.context.console.warn(
                f"{entrant.column}: {entrant.architecture} does not race: its network would run for {reading:.3g} s over all "
                f"rows, of {seconds:.3g} s that an entrant has. Give more time (--budget, --time-budget), or name it: --arch"
            )
            continue
        network, job = job_for(entrant, bench, track_of(folder, entrant))
        if seconds and reading:
            seconds = max(seconds - (time.monotonic() - started), 1.0)
        done, over, whole = _raced(entrant, job, bench, seconds, quickest)
        quickest = min(quickest, whole)
        solving.join(network, job)
        kind = bench.dataset.task.outputs
        found = kind.to(outputs_of(job, val), torch.device("cpu"))
        outputs[entrant.architecture] = kind.glimpse(found)
        table[entrant.architecture] = {
            "epochs": done,
            "over": over,
            "seconds": round(time.monotonic() - started, 2),
            "parameters": parameter_count(network.encoder),
            **({FROZEN: True} if entrant is not asked else {}),
        }
    standings = race.judge(outputs, dataset.targets[val], dataset.task, bench.context.seed)
    rows = {name: {**table[name], **asdict(standing)} for name, standing in standings.items()}
    _say_race(entrants[0].column, rows, bench)
    for entrant in entrants:
        if not (entrant.architecture in standings and standings[entrant.architecture].kept):
            bench.forget(entrant)
    return {"kept": [name for name, standing in standings.items() if standing.kept], "table": rows}


def _in_time(entrant: Candidate, seconds: float, bench: Bench) -> tuple[Candidate, float]:
    """The entrant, and how long its network takes to read all rows; as it is, where there is no time to tune it."""
    (reading, why), tune = seconds_to_read(entrant, bench), entrant.config.tune if entrant.frozen else ""
    if entrant.frozen is None or (not why and reading + seconds_to_tune(entrant, reading, bench) <= seconds):
        return entrant, reading
    few = f"{seconds:.3g} s, which an entrant has, are too few for --tune {tune}. Give more time (--budget, --time-budget), or"
    all_of_it = f"{why}, and a race by time has none for all of a network in every epoch. To tune it all the same,"
    own, _ = seconds_to_read(entrant.frozen, bench)
    if own <= seconds:  # else it does not race at all, which is said
        told = f"{all_of_it if why else few} say --tune {tune}"
        bench.context.console.note(f"{entrant.column}: {entrant.architecture} races as it is (--tune head): {told}")
    return entrant.frozen, own


def _raced(entrant: Candidate, job: Job, bench: Bench, seconds: float | None, quickest: float) -> tuple[int, bool, float]:
    """Lets one race; gives the epochs done, whether its training is over, and how many seconds all of that would take. Where
    nothing was said of epochs or time, none races for longer than the quickest so far would train to its end."""
    budget = bench.options.budget
    epochs = budget.epochs
    if epochs is None and budget.seconds is None:
        epochs = max(round(entrant.training.epochs * race.DEFAULT_SHARE), 1)
    unsaid = seconds is None and budget.epochs is None
    most = max(quickest, UNHURRIED) if unsaid else seconds
    resumed, started = checkpoint.is_whole(job.folder / CHECKPOINT), time.monotonic()
    done, over = rehearse(job, bench.context.console, epochs, most)
    if unsaid and not over and epochs and done < epochs:
        bench.context.console.note(
            f"{entrant.column}: {short_name(entrant.architecture)} raced for {done} of {epochs} epochs, as long as "
            f"the quickest trains to its end, or {UNHURRIED:.0f} s. For all of them: --budget {epochs}"
        )
    whole = (time.monotonic() - started) * entrant.training.epochs / max(done, 1)
    return done, over, float("inf") if resumed else whole  # how long what was done before took is not known


def _unreadable(entrant: Candidate, bench: Bench) -> str:
    """Why an entrant that lay in the folder of models cannot be read, in words: nobody asked for it by name."""
    if not shelf.holds(entrant.architecture):
        return ""
    try:
        build_encoder(entrant.architecture, entrant.config.model_dump(), bench.dataset.input(entrant.column).spec).start()
    except ConfigError as error:
        return f"{error.message}. {error.remedy}"
    return ""


def race_of(root: Path, column: str) -> Path:
    """Where the race of an input runs."""
    return root / "encoders" / layout.safe(column) / ".race"


def track_of(folder: Path, entrant: Candidate) -> Path:
    """Where an entrant's checkpoint lies; what another race left there is gone."""
    own = folder / layout.safe(entrant.architecture)
    note = own / NOTE
    if not (note.is_file() and note.read_bytes() == entrant.fingerprint.encode()):
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(parents=True)
        store.write_atomic(note, entrant.fingerprint.encode())
    return own


def _say_race(column: str, table: Mapping[str, Mapping[str, Any]], bench: Bench) -> None:
    primary = bench.dataset.task.primary_metric
    rows = [
        [
            short_name(name),
            "goes on" if row["kept"] else "stopped",
            shown(row["score"]),
            f"{row['epochs']}",
            f"{row['parameters']:,}",
            f"{row['seconds']:.1f}",
            row["reason"],
        ]
        for name, row in table.items()
    ]
    header = [f"race for {column}", " result", f"val {primary}", "epochs", "parameters", "seconds", " because"]
    bench.context.console.table(header, rows, detail=True)
