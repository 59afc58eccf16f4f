"""export: the best model as a folder that needs no mmcli: the network, how its inputs are made, a script, rows to check by."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcli import __version__, registry
from mmcli.artifacts import store, tensors
from mmcli.data.dataset import Dataset
from mmcli.errors import ConfigError, MmcliError
from mmcli.models import graphs, predictor, runners
from mmcli.models.predictor import Model
from mmcli.models.recipe import Recipe
from mmcli.options.export import Options
from mmcli.signals import Signal
from mmcli.stages import Context, Outcome

FILES = {"onnx": "model.onnx", "onnx-int8": "model.onnx", "torch-export": "model.pt2", "safetensors": "model.safetensors"}
DESCRIPTION, EXAMPLE, SCRIPT, ABOUT = "model.json", "example.safetensors", "run.py", "README.md"
ROWS = 8
TOLERANCE = 1e-4
TEMPLATES = Path(__file__).parent.parent / "reporting" / "templates"


def run(options: Options, context: Context) -> Outcome:
    """Writes the folder, and holds what it computes against PyTorch on real rows.

    Raises:
        ArtifactError: there is no fused model.
        ConfigError: the folder is in use, a package is missing, or the model cannot be written so.
        MmcliError: what was written computes something else.
    """
    if options.to.exists() and any(options.to.iterdir()) and not (options.to / DESCRIPTION).exists() and not context.force:
        raise ConfigError(f"--to {options.to} holds other files", "Name an empty folder, or add --force.")
    loaded = predictor.load(options.model or context.root, "cpu", "float32")
    dataset = Dataset.open(loaded.artifact.root)
    context.console.note(f"export: {loaded.artifact.name} as {options.format}")
    if context.dry_run:
        context.console.note(f"dry run: would write {options.to / FILES[options.format]}")
        return Outcome({"model": loaded.artifact.name}, "mmcli export")
    signals, wanted = _example(loaded, dataset)
    options.to.mkdir(parents=True, exist_ok=True)
    path = options.to / FILES[options.format]
    found = _written(options.format, loaded, signals, path)
    # Of outputs beyond one, a share: a temperature may have made them hundreds.
    error = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1.0))
    if options.format != "onnx-int8" and not error <= TOLERANCE:
        raise MmcliError(
            f"{path} gives other outputs than PyTorch, by {error:.2g}", "Please report it; --format safetensors is exact."
        )
    named = graphs.tensors_of(signals)
    tensors.save(options.to / EXAMPLE, {**named, graphs.OUTPUTS: wanted})
    description = _description(options.format, loaded, dataset, signals, error)
    _write_json(options.to / DESCRIPTION, description)
    if options.format != "safetensors":
        script = options.format.removesuffix("-int8").replace("-", "_")
        shutil.copy2(TEMPLATES / f"run_{script}.py.txt", options.to / SCRIPT)
    store.write_atomic(options.to / ABOUT, _about(options.format, description).encode())
    context.console.note(
        f"{path}: {path.stat().st_size / 1e6:.1f} MB; on {len(wanted)} real rows its outputs differ from PyTorch's by "
        f"{error:.1e} at most"
    )
    if options.format == "onnx" and loaded.artifact.config.get("way") == runners.ONNX_INT8:
        context.console.note(f"in float32; {loaded.artifact.name} runs it with int8 weights: --format onnx-int8 writes that")
    data = {"file": str(path), "model": loaded.artifact.name, "largest_difference": error, "rows": len(wanted)}
    step = f"python {options.to / SCRIPT}" if options.format != "safetensors" else f"read {options.to / ABOUT}"
    return Outcome(data, step)


def _example(loaded: Model, dataset: Dataset) -> tuple[dict[str, Signal], Tensor]:
    """Some test rows (or val, or train) as the network takes them, and what it makes of them."""
    index = next(own for own in (dataset.splits[name] for name in ("test", "val", "train")) if len(own))
    index = index.repeat(-(-2 // len(index)))[:ROWS]
    columns = {name: dataset.column(name).select(index) for name in loaded.network.inputs}
    every = torch.arange(len(index))
    signals = {name: column.gather(every) for name, column in loaded.network.prepare(columns).items()}
    with torch.no_grad():
        return signals, loaded.network(signals).outputs.float()


def _written(form: str, loaded: Model, signals: Mapping[str, Signal], path: Path) -> Tensor:
    """Writes the network; gives what the file makes of the signals."""
    if form == "safetensors":
        tensors.save(path, loaded.network.state_dict())
        dataset = Dataset.open(loaded.artifact.root)
        again = Recipe.of(loaded.artifact).build(dataset, tensors.load(path))
        with torch.no_grad():
            outputs: Tensor = again(signals).outputs.float()
            return outputs
    named = graphs.tensors_of(signals)
    if form in {"onnx", "onnx-int8"}:
        runners.write(runners.ONNX_INT8 if form == "onnx-int8" else runners.ONNX, loaded.network, signals, path)
        return graphs.OnnxModel(path)(named)
    program = graphs.exported(loaded.network, signals)
    if graphs.has_recurrent_layers(program):
        raise ConfigError(
            "--format torch-export: a recurrent encoder (rnn, crnn, cnn-rnn) would be unrolled over every length",
            "Use --format onnx, or safetensors.",
        )
    with graphs.quiet():
        torch.export.save(program, path)
    with torch.no_grad():
        found: Tensor = program.module()(*named.values())
        return found


def _description(form: str, loaded: Model, dataset: Dataset, signals: Mapping[str, Signal], error: float) -> dict[str, Any]:
    recipe, task = Recipe.of(loaded.artifact), loaded.task
    inputs = {}
    for name, found in loaded.inputs.items():
        members = {column: {"modality": _kind(own), "state": own.state()} for column, own in found.members.items()}
        inputs[name] = {"kind": found.spec.kind, "columns": members}
    fields = {}
    for name, tensor in graphs.tensors_of(signals).items():
        encoder = name.rpartition(".")[0]
        shape: list[int | str] = ["batch", *tensor.shape[1:]]
        if name.endswith(".values") and signals[encoder].lengths is not None:
            shape[1] = "time"
        choice = recipe.encoders[encoder]
        fields[name] = {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": shape,
            "input": choice["input"],
            "encoder": choice["architecture"],
        }
    names = list(getattr(task, "classes", None) or getattr(task, "labels", None) or dataset.schema["targets"])
    return {
        "made_by": f"mmcli {__version__}",
        "format": form,
        "file": FILES[form],
        "target": loaded.target,
        "task": {"kind": _kind(task), "link": task.decision.link, "names": names, "state": task.state()},
        "tensors": fields,
        "inputs": inputs,
        "network": recipe.as_dict(),
        "conformal": loaded.conformal,
        "largest_difference_from_pytorch": error,
    }


def _kind(part: Any) -> str:
    return registry.name_of(type(part))


def _write_json(path: Path, value: Any) -> None:
    store.write_atomic(path, json.dumps(value, ensure_ascii=False, indent=1, default=str).encode())


def _about(form: str, description: Mapping[str, Any]) -> str:
    lines = [
        f"# A model of {description['target']}",
        "",
        f"Written by {description['made_by']} as {form}: `{description['file']}`. It needs no mmcli.",
        "",
        f"- `{DESCRIPTION}` describes it: each tensor that the network takes (name, type, shape), the columns that they are",
        "  made of, each with its modality and all that was learnt of it (sizes, means and deviations, categories, the",
        "  tokenizer), the classes in the order of the outputs, and the network's own layers.",
        f"- `{EXAMPLE}` holds real rows as such tensors, and the outputs that PyTorch gives for them.",
    ]
    if form != "safetensors":
        lines += [f"- `{SCRIPT}` runs the model on them, checks the outputs, and prints the predictions: `python {SCRIPT}`."]
        needs = "onnxruntime numpy safetensors" if form.startswith("onnx") else "torch numpy safetensors"
        lines += ["", f"    pip install {needs}", f"    python {SCRIPT}"]
    else:
        lines += [
            "",
            "The weights alone: to compute with them, build the layers that `network` names, or use mmcli.",
        ]
    if form == "torch-export":
        lines += [
            "",
            "This format is torch's own: it holds the inputs that the graph was traced with as a pickle, which",
            "`torch.export.load` reads. Load it from where you trust, or use ONNX, which holds none.",
        ]
    lines += [
        "",
        "What a tensor is made of, by its input's kind: a grid is pixels from 0 to 1, less the mean, by the deviation; ids are",
        "token ids, or hashed n-grams where the encoder is `bag`; a spectrogram is log-mel frames; fields are numbers less the",
        "mean, by the deviation, and category ids, not a number where empty. `.present` is false where a cell is missing, its",
        "values then zero; `.lengths` counts the real steps of a row.",
        "",
    ]
    return "\n".join(lines)
