"""export: the best model as a folder that needs no mmcli: the network, how its inputs are made, a script, rows to check by."""

from __future__ import annotations

import json
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcli.artifacts import tensors
from mmcli.artifacts.history import history
from mmcli.data.dataset import Dataset
from mmcli.errors import ConfigError, MmcliError
from mmcli.models import graphs, predictor, runners, writers
from mmcli.models.predictor import Model
from mmcli.models.recipe import Recipe
from mmcli.options.export import Options
from mmcli.signals import Column, Signal, Source
from mmcli.stages import Context, Outcome
from mmcli.stages.export.describing import (
    ABOUT,
    DESCRIPTION,
    EXAMPLE,
    FILES,
    LANGUAGE_MODEL,
    SCRIPT,
    about,
    as_json,
    description,
    rows_held,
)
from mmcli.stages.export.standalone import FOLDERS, take_out, why_not, write_script
from mmcli.text.writing import Writing
from mmcli.vectors.aligned import Aligned
from mmcli.vectors.embedded import Embedded

ROWS = 8
TOLERANCE = 1e-4
TEMPLATES = Path(__file__).parents[2] / "reporting" / "templates"


def run(options: Options, context: Context) -> Outcome:
    """Writes the folder, and holds what it computes against PyTorch on real rows.

    Raises:
        ArtifactError: there is no fused model.
        ConfigError: the folder is in use, or holds another model, a package is missing, or the model cannot be written so.
        MmcliError: what was written computes something else.
    """
    if options.to.exists() and any(options.to.iterdir()) and not (options.to / DESCRIPTION).exists() and not context.force:
        raise ConfigError(f"--to {options.to} holds other files", "Name an empty folder, or add --force.")
    loaded = predictor.load(options.model or context.root, "cpu", "float32")
    _refuse(options.of_model, loaded)
    earlier = _earlier(options.to, loaded, context)
    context.console.note(f"export: {loaded.artifact.name} as {options.of_model}")
    path = options.to / FILES[options.of_model]
    if context.dry_run:
        context.console.note(f"dry run: would write {path}")
        return Outcome({"model": loaded.artifact.name}, "mmcli export")
    near = next(folder for folder in options.to.absolute().parents if folder.exists())
    with tempfile.TemporaryDirectory(prefix=".export-", dir=near) as made:  # a refusal leaves nothing behind
        error, reads_tables = _write(options.of_model, loaded, Path(made), context)
        _put(Path(made), options.to)
    if earlier:
        context.console.note(f"{options.to} held an export of {earlier}: replaced")
    context.console.note(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; on {ROWS} real rows its outputs differ from PyTorch's by "
        f"{error:.1e} at most"
    )
    if (options.to / LANGUAGE_MODEL).exists():
        context.console.note(
            f"{LANGUAGE_MODEL}: {(options.to / LANGUAGE_MODEL).stat().st_size / 1e6:.1f} MB, to search for texts as mmcli "
            "predict does; it is counted from the train texts and holds much of them"
        )
    if rows := rows_held(Recipe.of(loaded.artifact).as_dict()):
        context.console.note(
            f"{path.name}: holds {rows:,} rows of the train table with their targets, by which TabICL answers: give it to "
            "nobody who may not read them. To compute with it takes the package tabicl"
        )
    if options.of_model == "onnx" and loaded.artifact.config.get("way") == runners.ONNX_INT8:
        context.console.note(f"in float32; {loaded.artifact.name} runs it with int8 weights: --format onnx-int8 writes that")
    data = {"file": str(path), "model": loaded.artifact.name, "largest_difference": error, "rows": ROWS}
    read, file = ("python", SCRIPT) if options.of_model != "safetensors" else ("read", ABOUT)
    step = shlex.join([read, str(options.to / file)])
    return Outcome(data, step + (" TABLE.csv -o predictions.csv" if reads_tables else ""))


def _write(form: str, loaded: Model, folder: Path, context: Context) -> tuple[float, bool]:
    """Everything, into an empty folder; gives by how much its outputs differ from PyTorch's, and whether it takes tables."""
    for name in loaded.network.names:
        loaded.network.encoder(name).compute_all()
    dataset = Dataset.open(loaded.artifact.root)
    signals, wanted = _example(loaded, dataset)
    path = folder / FILES[form]
    found = _written(form, loaded, signals, path)
    error = _difference(graphs.given(found), graphs.given(wanted))
    if form != "onnx-int8" and not error <= TOLERANCE:
        raise MmcliError(
            f"{path.name} gives other outputs than PyTorch, by {error:.2g}", "Please report it; --format safetensors is exact."
        )
    tensors.save(folder / EXAMPLE, {**graphs.tensors_of(signals), **graphs.answers(wanted)})
    described = description(form, loaded, dataset, signals, error)
    if described["task"].get("search", {}).get("language_model"):
        np.savez_compressed(folder / LANGUAGE_MODEL, **loaded.task.likely.state())  # type: ignore[attr-defined]
    if isinstance(wanted, Embedded):
        described["task"] |= {"threshold": float(wanted.threshold)}
    if isinstance(wanted, Aligned):
        described["task"] |= {"columns": list(loaded.task.columns), "width": wanted.values.shape[2]}
    needs, whole = ["torch", "numpy", "safetensors"], False
    if form.startswith("onnx"):
        reason = why_not(loaded)
        described["only_tensors"] = reason
        if reason:
            context.console.warn(f"{SCRIPT} will not take tables, only tensors: {reason}")
        take_out(described, loaded, folder)
        needs, whole = write_script(described, folder), not reason
    elif form == "torch-export":
        shutil.copy2(TEMPLATES / "run_torch_export.py.txt", folder / SCRIPT)
    (folder / DESCRIPTION).write_bytes(as_json(described))
    (folder / ABOUT).write_text(about(form, described, needs), encoding="utf-8")
    return error, whole


def _earlier(to: Path, loaded: Model, context: Context) -> str:
    """Of what the folder holds an export, in words; empty where it holds none.

    Raises:
        ConfigError: of a model that was made elsewhere, which would be lost.
    """
    if not (to / DESCRIPTION).exists():
        return ""
    try:
        found = json.loads((to / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # cut off, or of another program
        found = None
    told = found if isinstance(found, dict) and str(found.get("made_by")).startswith("mmcli ") else {}
    made, root = told.get("model"), loaded.artifact.root
    if made == loaded.artifact.hash:
        return "this model"
    names = {str(entry.get("hash")): str(entry["name"]) for entry in history(root)}
    if made in names:
        return f"a model that was made in {root} before, {names[made]}"
    target = f", of the target {told['target']!r}" if told.get("target") else ""
    of = f"of another model{target}" if told else f"that cannot be understood ({DESCRIPTION})"
    if context.force:
        return of.removeprefix("of ") if told else f"something {of}"
    raise ConfigError(
        f"--to {to} holds an export {of}, which was not made in {root}" if told else f"--to {to} holds an export {of}",
        "Keep it and choose another folder: --to DIR; or replace it: --force.",
    )


def _refuse(form: str, loaded: Model) -> None:
    """Raises ConfigError where the model cannot be written so."""
    by_two = form.startswith("onnx") and writers.writes(loaded.network)
    why = "" if form == "safetensors" or by_two else graphs.why_no_graph(loaded.network)
    if why:
        raise ConfigError(f"--format {form}: {why}", "Use it by mmcli predict or mmcli.load; or --format safetensors.")
    if form == "torch-export" and not loaded.task.outputs.decides:
        raise ConfigError(
            f"--format torch-export: its script knows no {loaded.task.outputs.words}", "Use --format onnx, or safetensors."
        )


def _difference(found: Any, wanted: Any) -> float:
    """The largest difference of outputs; of such as are beyond one, a share: a temperature may have made them hundreds."""
    if isinstance(wanted, Writing):
        texts = [[nbest[0].ids for nbest in own.nbests()] for own in (found, wanted)]
        if texts[0] != texts[1]:
            return float("inf")
        found, wanted = (graphs.answers(own)[graphs.OUTPUTS] for own in (found, wanted))
    if isinstance(wanted, Column):
        if found.offsets.tolist() != wanted.offsets.tolist():  # type: ignore[union-attr]
            return float("inf")
        found, wanted = found.values, wanted.values
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1.0))


def _put(made: Path, to: Path) -> None:
    """Moves what was made to where it was asked for, in place of an earlier export."""
    if (to / DESCRIPTION).exists():
        for name in (*FILES.values(), writers.STEP, LANGUAGE_MODEL, DESCRIPTION, EXAMPLE, SCRIPT, ABOUT):
            (to / name).unlink(missing_ok=True)
        for name in FOLDERS:
            shutil.rmtree(to / name, ignore_errors=True)
    to.mkdir(parents=True, exist_ok=True)
    for own in made.iterdir():
        if own.is_dir() and (to / own.name).exists():
            shutil.rmtree(to / own.name)
        own.replace(to / own.name)


def _example(loaded: Model, dataset: Dataset) -> tuple[dict[str, Signal], Any]:
    """Some test rows (or val, or train) as the network takes them, and what it makes of them."""
    index = next(own for own in (dataset.splits[name] for name in ("test", "val", "train")) if len(own))
    # The longest row comes along for each input: a graph is traced, and checked, on what is hardest.
    here = [index[_longest(dataset.column(name), index)] for name in loaded.network.inputs]
    chosen = list(dict.fromkeys(torch.cat([*here, index]).tolist()))[:ROWS]
    index = torch.tensor(chosen).repeat(-(-ROWS // len(chosen)))[:ROWS].sort().values
    columns = {name: dataset.column(name).select(index) for name in loaded.network.inputs}
    every = torch.arange(len(index))
    signals = {name: column.gather(every) for name, column in loaded.network.prepare(columns).items()}
    with torch.no_grad():
        return signals, loaded.task.outputs.plain(loaded.network(signals).outputs)


def _longest(column: Source, index: Tensor) -> Tensor:
    """The place in the index of the longest row that is there, or of the first; empty where none is."""
    here = column.present.cpu()[index].nonzero()[:, 0]
    lengths = column.lengths
    return here[:1] if lengths is None or not len(here) else here[lengths.cpu()[index][here].argmax()][None]


def _written(form: str, loaded: Model, signals: Mapping[str, Signal], path: Path) -> Any:
    """Writes the network; gives what the file makes of the signals."""
    if form == "safetensors":
        tensors.save(path, loaded.network.state_dict())
        dataset = Dataset.open(loaded.artifact.root)
        again = Recipe.of(loaded.artifact).build(dataset, tensors.load(path))
        for name in again.names:
            again.encoder(name).compute_all()
        with torch.no_grad():
            return loaded.task.outputs.plain(again(signals).outputs)
    if form in {"onnx", "onnx-int8"}:
        try:
            runners.write(runners.ONNX_INT8 if form == "onnx-int8" else runners.ONNX, loaded.network, signals, path)
        except RuntimeError as error:
            why = runners.why_not(error)
            raise MmcliError(
                f"this model cannot be written as {form}: {why}", "Use --format safetensors, which is exact."
            ) from error
        own = runners.runner(runners.ONNX, loaded.network, loaded.compute, path)
        return own.run(signals)
    if graphs.has_recurrent_layers(loaded.network, signals):
        raise ConfigError(
            "--format torch-export: a recurrent encoder (rnn, crnn, cnn-rnn) would be unrolled over every length",
            "Use --format onnx, or safetensors.",
        )
    program = graphs.exported(loaded.network, signals)
    with graphs.quiet():
        torch.export.save(program, path)
    with torch.no_grad():
        found: Tensor = program.module()(*graphs.tensors_of(signals).values())
        return found
