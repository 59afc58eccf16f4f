"""What `run.py` does: a table in, the same rows with predictions out, in batches; or a check of the rows that came with it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmcli.errors import ConfigError
from mmcli.exports import batches, hits, lookup, tables
from mmcli.exports.damage import DamagedError
from mmcli.exports.graph import OUTPUTS, STEPS, Model, read_tensors
from mmcli.exports.saying import Words
from mmcli.exports.tables import Table, TableError
from mmcli.exports.writing import best
from mmcli.reporting.counts import counted


def main(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    options = _parser(folder).parse_args(arguments)
    try:
        model = Model(folder, options.threads)
        _refuse(model, options)
        model.beam = options.beam or model.beam
        _refuse_of_answers(model, options)
        held = None if options.gallery is None else lookup.Gallery(options.gallery, model.about)
        if _cells(options):
            return _of_files(model, held, options)
        return check(model) if options.table is None else _of_table(model, held, options)
    except ImportError as error:
        return _failed(f"{error}: this model needs it; pip install what README.md names")
    except ConfigError as error:
        return _failed(f"{error.message}: {error.remedy[:1].lower()}{error.remedy[1:]}")
    except (TableError, DamagedError, OSError) as error:
        return _failed(str(error))


def _parser(folder: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run.py", description=f"Predicts a table with the model in {folder}: the same rows, with prediction columns."
    )
    parser.add_argument("table", type=Path, nargs="?", help="a .csv or .tsv; without one the rows that came along are checked")
    parser.add_argument("-o", "--output", type=Path, help="where to write (default: standard output)")
    parser.add_argument("--media-root", default="", help="the folder that paths start from (default: the table's)")
    parser.add_argument("--encoding", default="", help="of the table (default: its byte-order mark's, else utf-8)")
    parser.add_argument("--delimiter", default="", help="of the table (default: the one that parts its header)")
    parser.add_argument("--beam", type=int, default=0, help="texts followed at once while searching (default: as trained)")
    parser.add_argument("--nbest", type=int, default=1, metavar="K", help="of texts: so many answers, _nbest_2 and on")
    parser.add_argument(
        "--words",
        type=Path,
        metavar="PATH",
        help="of texts that follow sound, when each word is said: FILE.json (a line for each row), FILE.srt (of one row), or a "
        "folder of such",
    )
    parser.add_argument(
        "--raw", action="store_true", help="leave cells that a spreadsheet would run as formulas without an apostrophe"
    )
    parser.add_argument("--threads", type=int, default=0, help="to compute with (default: one a core)")
    of = "of a model that gives vectors: "
    parser.add_argument(
        "--gallery",
        type=Path,
        help=f"{of}name rows by it, or, of columns that belong together, find them in it; an .npz by mmcli export --gallery "
        "NAME --format npz",
    )
    parser.add_argument(
        "--threshold", type=float, help="similarity from which on a name is accepted (default: the model's own)"
    )
    parser.add_argument("--compare", nargs=2, metavar="CELL", help=f"{of}how alike two files are, or two other cells")
    parser.add_argument("--find", metavar="FILE", help=f"{of}the rows of the --gallery that are most like a file")
    parser.add_argument("--find-text", metavar="TEXT", help=f"{of}those that are most like a text")
    parser.add_argument("-k", type=int, help=f"how many of them (default: {hits.MOST}); of a table a line for each")
    parser.add_argument(
        "--column",
        action="append",
        default=[],
        help="which column the file or text is of, where several may be (twice: of --compare's first and second); of a table "
        "the column to look at, all others being absent (repeat it)",
    )
    parser.add_argument("--id", metavar="COLUMN", help="what says which row of a table a hit is of (default: as mmcli search)")
    return parser


def _refuse(model: Model, options: argparse.Namespace) -> None:
    """Raises TableError where the model cannot do what is asked, or something is missing for it."""
    cells = _cells(options)
    wanted = [name for name in ("gallery", "compare", "find", "find_text") if getattr(options, name) is not None]
    if wanted and model.about["task"]["link"] != "embedding":
        raise TableError(f"--{wanted[0].replace('_', '-')}: this model gives no vectors to compare")
    if options.beam and (options.beam < 0 or not model.beam):
        raise TableError(f"--beam {options.beam}: " + ("1 or more" if model.beam else "this model follows no beam"))
    if len({"compare", "find", "find_text"} & set(wanted)) > 1:
        raise TableError("--compare, --find and --find-text are asked one at a time: leave the others out")
    if cells and not options.compare and options.gallery is None:
        raise TableError(f"--{wanted[0].replace('_', '-')} looks in a gallery: name it with --gallery")
    if options.gallery is not None and options.table is None and not cells:
        raise TableError("--gallery: name a table too, or --find FILE, or --find-text TEXT")
    if cells and options.table is not None:
        raise TableError("both a table and cells to look for: leave one out")
    if options.compare and options.gallery is not None:
        raise TableError("--compare looks at two cells alone: leave --gallery out")
    if options.threshold is not None and not wanted:
        raise TableError("--threshold goes with --gallery, --compare or --find")
    if cells and options.output is not None:
        raise TableError("--output is of a table: what files are is told on the console")
    _refuse_of_hits(model, options)


def _refuse_of_answers(model: Model, options: argparse.Namespace) -> None:
    """Raises TableError where a row has not so many answers, or none are written."""
    _refuse_of_words(model, options)
    if options.nbest == 1:
        return
    if options.nbest < 1 or model.about["task"]["link"] not in {"ctc", "decoder"}:
        raise TableError(
            f"--nbest {options.nbest}: " + ("1 or more" if options.nbest < 1 else "this model has one answer to a row")
        )
    if options.nbest > model.most_answers:
        raise TableError(f"--nbest {options.nbest}: this model keeps {counted(model.most_answers, 'text')} of a row")
    if options.table is None:
        raise TableError("--nbest is of a table: name one")


def _refuse_of_words(model: Model, options: argparse.Namespace) -> None:
    """Raises TableError where it is not known when words are said, or they cannot be written there."""
    path: Path | None = options.words
    if path is None:
        return
    if not model.tells_words:
        raise TableError("--words: answers of this model follow no steps of a recording")
    if options.table is None:
        raise TableError("--words is of a table: name one")
    if path.suffix.lower() not in {"", ".json", ".jsonl", ".srt"} or str(path) == "-":
        raise TableError(f"--words {path}: name a .json or .jsonl, an .srt for a table of one row, or a folder")
    if path.is_dir() if path.suffix else path.is_file():
        raise TableError(f"--words {path} is a {'folder' if path.suffix else 'file'} already: choose another name")
    for other, name in ((options.output, "-o"), (options.table, "the table")):
        if other is not None and path.resolve() == other.resolve():
            raise TableError(f"--words and {name} are both {path}: choose another name")
    if path.resolve().is_relative_to(model.folder.resolve()):
        raise TableError(f"--words {path}: the folder of the model keeps what was exported alone; choose another place")


def _refuse_of_hits(model: Model, options: argparse.Namespace) -> None:
    """Raises TableError where what is said of hits, or of columns, does not go with the rest."""
    if options.k is not None and options.k < 1:
        raise TableError(f"-k {options.k}: one row or more")
    if options.k is not None and options.compare:
        raise TableError("-k goes with --gallery, and not with --compare: leave it out")
    if options.k is not None and options.gallery is None:
        raise TableError("-k is how many rows of a gallery are told: name it with --gallery")
    lines = options.gallery is not None and not _cells(options) and _tells_hits(model, options)
    if options.id is not None and not lines:
        raise TableError("--id says what the rows of a table are called whose hits in a --gallery are told")
    if options.threshold is not None and lines:
        raise TableError("--threshold accepts names: each hit is told with its similarity; leave it out")
    if options.column and options.gallery is None and not options.compare:
        raise TableError("--column goes with --gallery, --compare or --find")
    unknown = next((name for name in options.column if name not in model.columns), None)
    if unknown is not None:
        raise TableError(f"--column {unknown}: the model looks at {', '.join(model.columns)}")


def _of_files(model: Model, held: lookup.Gallery | None, options: argparse.Namespace) -> int:
    """Tells how alike two cells are, or which rows of the gallery are most like one."""
    if model.about["only_tensors"]:
        return _failed(f"this model takes no files, only tensors: {model.about['only_tensors']}")
    cells, columns = _cells(options), options.column
    if len(columns) != 2 or len(cells) != 2:
        flag = "--compare" if options.compare else "--find" if options.find is not None else "--find-text"
        columns = [hits.column_of(model, flag, columns)] * len(cells)
    vectors, least = hits.of_cells(model, cells, columns, options.media_root or "."), _least(model, options)
    if held is None:
        return hits.compare(vectors, least)
    return hits.find(vectors, held, options.k or hits.MOST, least)


def _cells(options: argparse.Namespace) -> list[str]:
    """What is compared or looked up, where that is no table."""
    return options.compare or [own for own in (options.find, options.find_text) if own is not None]


def _least(model: Model, options: argparse.Namespace) -> float | None:
    """From which similarity on two are the same; None where nothing says so."""
    own: float | None = model.about["task"].get("threshold")
    return own if options.threshold is None else float(options.threshold)


def _of_table(model: Model, held: lookup.Gallery | None, options: argparse.Namespace) -> int:
    """Every row of the table with its prediction, or the hits of each in a gallery."""
    if model.about["only_tensors"]:
        return _failed(f"this model takes no tables, only tensors: {model.about['only_tensors']}")
    model.prepare()
    table = tables.open_table(options.table, options.encoding, options.delimiter)
    root = options.media_root or str(table.path.parent)
    if held is not None and _tells_hits(model, options):
        most, named = options.k or hits.MOST, options.id
        return hits.of_table(model, table, options.output, root, held, most, options.column, named, options.raw)
    words = None if options.words is None else Words(options.words)
    least = _least(model, options) or 0.0
    return predict(model, table, options.output, root, held, least, options.column, options.nbest, words, options.raw)


def _tells_hits(model: Model, options: argparse.Namespace) -> bool:
    """Whether the rows of a table get a line for each hit, rather than a name each."""
    return options.k is not None or model.together


def predict(
    model: Model,
    table: Table,
    output: Path | None,
    media_root: str,
    held: lookup.Gallery | None = None,
    least: float = 0.0,
    columns: Sequence[str] = (),
    count: int = 1,
    words: Words | None = None,
    raw: bool = False,
) -> int:
    """Every row of the table with its prediction, of texts with `count` of them, in order, and where asked for when their words
    are said; what could not be read is told on standard error, and what was guarded unless it is to be left `raw`."""
    whole, formulas, mark = False, 0, tables.delimiter(output, table)
    try:
        with tables.opened(output, table) as file:
            for batch in batches.read(model, table, media_root, columns):
                made = model.answers(batch.outputs, model.written(batch.outputs), count)
                if held is not None:
                    named = held.decode(batch.outputs[OUTPUTS], model.here, least)
                    made = {f"{model.about['target']}_predicted{name}": own for name, own in named.items()}
                everything = {**batch.told, **made}  # blanks and all
                header = [list(everything)] if batch.first == 1 else []
                formulas += tables.write(file, [*header, *zip(*everything.values(), strict=True)], mark, raw)
                if words is not None:
                    words.write(model.words(batch.outputs))
        whole = True
    finally:
        if words is not None:
            words.close(keep=whole)
    if words is not None and words.without:
        batches.say(words.remark)
    if formulas:
        batches.say(tables.remark(formulas, output))
    return 0


def check(model: Model) -> int:
    """Runs the rows of example.safetensors, tells how far the outputs are from those that came with them, and what they say."""
    rows = read_tensors(model.folder / "example.safetensors")
    outputs = model.run(rows)
    steps, written = outputs.get(STEPS), model.written(outputs)
    exponent = model.about["task"].get("search", {}).get("exponent")
    found = outputs[OUTPUTS] if exponent is None else np.array([best(own, exponent)[1] for own in written])
    differences = np.abs(found - rows[OUTPUTS])
    if steps is not None:  # what lies behind a row's end says nothing
        differences = differences[np.arange(found.shape[1])[None] < steps[:, None]]
    print(f"largest difference from PyTorch: {differences.max():.1e}")  # noqa: T201 - a script
    for row in zip(*model.answers(outputs, written).values(), strict=True):
        print("  ".join(str(cell) for cell in row[:2]))  # noqa: T201 - a script
    return 0


def _failed(text: str) -> int:
    batches.say(f"error: {text}")
    return 1
