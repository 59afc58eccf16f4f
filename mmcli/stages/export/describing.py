"""What an exported folder says of itself: to programs in model.json, to people in README.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mmcli import __version__, registry
from mmcli.data.dataset import Dataset
from mmcli.errors import ConfigError
from mmcli.models import gallery, graphs, loading, plain, writers
from mmcli.models.networks import FusedModel
from mmcli.models.predictor import Model
from mmcli.models.recipe import Recipe
from mmcli.reporting import strict
from mmcli.reporting.markdown import escaped
from mmcli.signals import Signal
from mmcli.text.lattice import Search

FILES = {"onnx": "model.onnx", "onnx-int8": "model.onnx", "torch-export": "model.pt2", "safetensors": "model.safetensors"}
DESCRIPTION, EXAMPLE, SCRIPT, ABOUT = "model.json", "example.safetensors", "run.py", "README.md"
LANGUAGE_MODEL = "language_model.npz"
"""Beside texts that are searched for with it."""


def description(form: str, loaded: Model, dataset: Dataset, signals: Mapping[str, Signal], error: float) -> dict[str, Any]:
    """What the network takes, of what that is made, and what its outputs mean."""
    recipe, task = Recipe.of(loaded.artifact), loaded.task
    inputs = {}
    for name, found in loaded.inputs.items():
        members = {column: {"modality": kind(own), "state": own.state()} for column, own in found.members.items()}
        for column in set(members) & set(loaded.faces):
            members[column]["faces"] = loaded.faces[column].as_dict()
        inputs[name] = {"kind": found.spec.kind, "columns": members}
    encoders = {}
    for name, choice in recipe.encoders.items():
        preparation = loaded.network.encoder(name).preparation() or {}
        encoders[name] = {"input": choice["input"], "ngrams": preparation.get("ngrams"), "words": preparation.get("words")}
    names = list(getattr(task, "classes", None) or getattr(task, "labels", None) or dataset.schema["targets"])
    two = form.startswith("onnx") and writers.writes(loaded.network)
    return {
        "made_by": f"mmcli {__version__}",
        "model": loaded.artifact.hash,
        "format": form,
        "file": FILES[form],
        **({"step": writers.STEP} if two else {}),
        "target": loaded.target,
        **({"type": loaded.typed.kind} if loaded.typed.kind else {}),
        "na": sorted(loaded.na),
        "ids": [name for name in (dataset.schema["roles"]["id"], gallery.ID) if name and name not in dataset.schema["targets"]],
        "files": [column for own in loaded.inputs.values() for column, kind in own.members.items() if kind.reads_files],
        "task": _with_words(_task(task, names, loaded.network), loaded),
        "tensors": _tensors(recipe, signals),
        "inputs": inputs,
        "encoders": encoders,
        "network": recipe.as_dict(),
        "conformal": loaded.conformal,
        "weights_of_others": loading.weights_of_others(loaded.artifact, dataset),
        "largest_difference_from_pytorch": error,
    }


def _task(task: Any, names: list[str], network: FusedModel) -> dict[str, Any]:
    if task.gives_embeddings:  # whose rows train had is nobody else's business
        return {"kind": kind(task), "names": [], "state": {}, "link": "embedding"}
    own = {"kind": kind(task), "names": names, "state": task.state()}
    if task.outputs.decides:
        return {**own, "link": task.decision.link}
    kept_elsewhere = {"grams", "lexicon", "language"}  # see LANGUAGE_MODEL
    own["state"] = {key: value for key, value in own["state"].items() if key not in kept_elsewhere}
    if writers.writes(network):
        how = asdict(writers.How.of(network))
        return {**own, "link": "decoder", "units": task.units.table(), "certainty": how.pop("certainty"), "search": how}
    found = graphs.searched_by(network)
    if found is None:
        return {**own, "link": "decoder", "units": task.units.table()}
    certainty = [found.slope, found.intercept] if found.beam else None
    weights = {"lm_weight": found.lm_weight, "length_bonus": found.length_bonus, "stranger": found.stranger}
    search = {"width": max(found.beam, 1), **weights, "language_model": LANGUAGE_MODEL if weighs_likely(found) else None}
    known = task.background.language
    named = {"words_of": known.code} if known and search["language_model"] else {}
    return {**own, "link": "ctc", "units": task.units.table(), "certainty": certainty, "search": search, **named}


def _with_words(own: dict[str, Any], loaded: Model) -> dict[str, Any]:
    """With that by which it is known when words are said (see `timing.Clock`), where texts follow sound."""
    if own["link"] != "ctc":
        return own
    task: Any = loaded.task
    try:
        clock = loaded.clock()
    except ConfigError:
        return own
    told = {"lead": clock.lead, "stride": clock.stride, "frame_s": clock.frame_s}
    return {**own, "words": {**told, "each_letter": task.each_letter}}


def weighs_likely(search: Search) -> bool:
    """Whether a search takes a language model."""
    return not search.greedy and search.lm_weight != 0


def _tensors(recipe: Recipe, signals: Mapping[str, Signal]) -> dict[str, Any]:
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
    return fields


def rows_held(network: Mapping[str, Any]) -> int:
    """Of a model's recipe, as plain data, the train rows that stand with their targets in the context of members; those of each
    fold by themselves."""
    each = [own["encoder"]["rows"] for own in network["encoders"].values() if own["architecture"] == plain.IN_CONTEXT]
    return sum(each)


def as_json(value: Any) -> bytes:
    """As it stands in a file."""
    return strict.text(value, indent=1, default=str).encode()


def kind(part: Any) -> str:
    """What a modality or a task is called."""
    return registry.name_of(type(part))


def about(form: str, found: Mapping[str, Any], needs: Sequence[str]) -> str:
    """The README of the folder; `needs` are the packages that its script imports."""
    lines = [
        f"# A model of {found['target']}",
        "",
        f"Written by {found['made_by']} as {form}: `{found['file']}`. It needs no mmcli.",
        "",
        *_how_to_run(form, found, " ".join(needs)),
        f"- `{DESCRIPTION}` describes the model: each tensor that the network takes (name, type, shape), the columns that they",
        "  are made of, each with its modality and all that was learnt of it (sizes, means and deviations, categories, the",
        "  tokenizer), the classes in the order of the outputs, and the network's own layers.",
        f"- `{EXAMPLE}` holds real rows as such tensors, and the outputs that PyTorch gives for them.",
    ]
    if form.startswith("onnx"):
        lines += ["- `preprocessing/` makes the tensors of cells, and words of outputs; `tokenizers/` is for columns of text."]
    if found["task"]["link"] == "ctc":
        lines += [
            "- The answer is `outputs`, log-probabilities [rows, steps, units], and `steps`, how many of them are a row's own.",
            "  Unit 0 is the blank of CTC; the others stand in `task.units`.",
            *_how_read(form, found["task"]),
        ]
    lines += _held(found)
    if found.get("step"):
        lines += [
            f"- `{found['file']}` gives what a writer looks at in each row, once; `{found['step']}` how likely each unit is as",
            "  the next, with the keys and values of those before, log-probabilities. The loop between them, a beam, is in",
            "  `preprocessing/writing.py`; `task.search` says how wide, and how texts are ranked. Unit 0 is start and end.",
        ]
    columns = found["task"].get("columns")
    if columns:
        lines += [
            f"- The answer is `outputs` [rows, {len(columns)}, {found['task']['width']}]: a vector of length one for each of",
            f"  {', '.join(columns)}; zeros where a cell is absent.",
            "  Two cells are as alike as their inner product; several columns together are the mean of their vectors. What is",
            "  enrolled is no part of the model: galleries come beside it.",
        ]
    elif found["task"]["link"] == "embedding":
        lines += [
            "- The answer is `outputs`, vectors of length one: two rows are as alike as their inner product. From",
            "  `task.threshold` on, which val settled, one is taken for the other. Who is known is no part of the model:",
            "  galleries come beside it.",
        ]
    if found["weights_of_others"]:
        lines += ["", "It holds weights of others, whose licences go with them:", ""]
        lines += [f"- {escaped(own['name'])}, licence: {escaped(own['licence'])}" for own in found["weights_of_others"]]
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


def _held(found: Mapping[str, Any]) -> list[str]:
    """What is to be said of rows in the weights."""
    rows = rows_held(found["network"])
    if not rows:
        return []
    return [
        f"- `{found['file']}` holds {rows:,} rows of the train table, their numbers and categories with their targets, by",
        "  which a member, TabICL, answers: give it to nobody who may not read them. To compute with it takes the package",
        "  tabicl.",
    ]


def _how_read(form: str, task: Mapping[str, Any]) -> list[str]:
    """How texts are found in log-probabilities, and when their words are said."""
    return [*_how_searched(form, task["search"], task.get("words_of", "")), *_how_timed(form, task)]


def _how_searched(form: str, search: Mapping[str, Any], language: str) -> list[str]:
    if search["width"] == 1:
        return ["  The text is the likeliest unit of each step, repeated ones as one, without blanks."]
    lines = [
        f"  The text is found by a beam of {search['width']} prefixes, each summed over its alignments, as `task.search`",
        f"  weighs it: {'`preprocessing/prefixes.py`' if form.startswith('onnx') else '`mmcli.text.prefixes`'}.",
    ]
    if search["language_model"]:
        lines += [
            f"- `{search['language_model']}` is the language model in that beam: counts of what follows what in",
            "  the train texts, and their words. It holds much of these texts: give it to nobody who may not read them.",
        ]
        if language:
            lines += [
                f"  It also holds words of the language {language!r} and how often each is used, a part of the lists of",
                "  wordfreq (Robyn Speer, https://github.com/rspeer/wordfreq), which are CC BY-SA 4.0.",
            ]
    return lines


def _how_timed(form: str, task: Mapping[str, Any]) -> list[str]:
    if "words" not in task or not form.startswith("onnx"):
        return []
    return [
        f"- `python {SCRIPT} TABLE.csv -o predictions.csv --words words.json` writes besides when each word is said, in",
        "  seconds of the recording; `.srt` for subtitles of one row, a folder for those of each.",
    ]


def _how_to_run(form: str, found: Mapping[str, Any], needs: str) -> list[str]:
    install, check = f"    pip install {needs}", f"    python {SCRIPT}"
    if form == "safetensors":
        return [
            "The weights alone, which `safetensors` or torch reads: to compute with them, build the layers that `network` in",
            f"`{DESCRIPTION}` names, or use mmcli. For a folder that runs by itself, export as onnx.",
            "",
        ]
    if form == "torch-export":
        said = f"`{SCRIPT}` takes tensors, not tables: it runs the rows of `{EXAMPLE}`, or of a file like it."
        return [said, "", install, f"{check} [ROWS.safetensors]", ""]
    if found["only_tensors"]:
        said = f"`{SCRIPT}` takes no tables, since {found['only_tensors']}; it checks the rows of `{EXAMPLE}`."
        return [said, "", install, check, ""]
    columns = {name: own["modality"] for each in found["inputs"].values() for name, own in each["columns"].items()}
    jpegs = "JPEGs of some sizes are within a grey level or so of training; with `pip install simplejpeg` all are exact."
    return [
        "Install what it needs (Python 3.11 or newer), then predict a table, its media under the table's folder:",
        "",
        install,
        f"{check} TABLE.csv -o predictions.csv",
        "",
        f"The columns it looks for: {', '.join(columns)}.",
        "One that is not there, and every cell that is empty or cannot be read, counts as missing; the latter are told on",
        "standard error.",
        f"`python {SCRIPT} --help` lists the options; without a table it checks the rows of `{EXAMPLE}`.",
        *([jpegs] if "image" in columns.values() else []),
        *(_how_to_look_up(check, found, columns) if found["task"]["link"] == "embedding" else []),
        "",
    ]


def _how_to_look_up(script: str, found: Mapping[str, Any], kinds: Mapping[str, str]) -> list[str]:
    """`kinds`: column -> modality."""
    if "columns" in found["task"]:
        of_text = [f"{script} --find-text TEXT --gallery icons.npz"] if "text" in kinds.values() else []
        of_file = [f"{script} --find FILE --gallery icons.npz [--column COLUMN]"] if found["files"] else []
        return [
            "",
            "The predictions are how alike the columns of a row are, and the vector of each. With a gallery of a column",
            "(`mmcli enrol TABLE --gallery icons --column COLUMN`, `mmcli export --gallery icons --format npz`) they are",
            "its rows that are most like what stands in other columns. Or find one cell, or compare two:",
            "",
            f"{script} TABLE.csv -o hits.csv --gallery icons.npz --column COLUMN",
            *of_text,
            *of_file,
            f"{script} --compare CELL CELL --column COLUMN --column COLUMN",
        ]
    return [
        "",
        "The predictions are the rows' vectors; with a gallery (`mmcli export --gallery NAME --format npz`) the name of the",
        "most alike row in it. Or compare two files, or find one:",
        "",
        f"{script} TABLE.csv -o predictions.csv --gallery staff.npz",
        f"{script} --compare one.png other.png",
        f"{script} --find one.png --gallery staff.npz",
    ]
