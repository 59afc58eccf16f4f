"""What `run.py` does: a table in, the same rows with predictions out, in batches; or a check of the rows that came with it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from mmcli.exports import lookup, tables
from mmcli.exports.graph import OUTPUTS, STEPS, Model, read_tensors
from mmcli.exports.tables import Table, TableError
from mmcli.exports.writing import best

BATCH_ROWS = 32
"""Rows decoded and computed at once: what bounds memory. int8 graphs scale by batch, so it is that of mmcli predict."""


def main(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    options = _parser(folder).parse_args(arguments)
    try:
        model = Model(folder, options.threads)
        _refuse(model, options)
        model.beam = options.beam or model.beam
        held = None if options.gallery is None else lookup.Gallery(options.gallery, model.about)
        if options.compare or options.find:
            return _of_files(model, held, options)
        if options.table is None:
            return check(model)
        if model.about["only_tensors"]:
            return _failed(f"this model takes no tables, only tensors: {model.about['only_tensors']}")
        model.prepare()
        table = tables.open_table(options.table, options.encoding, options.delimiter)
        least = model.about["task"].get("threshold", 0.0) if options.threshold is None else options.threshold
        return predict(model, table, options.output, options.media_root or str(table.path.parent), held, least)
    except ImportError as error:
        return _failed(f"{error}: this model needs it; pip install what README.md names")
    except (TableError, OSError) as error:
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
    parser.add_argument("--beam", type=int, default=0, help="texts followed at once while writing (default: as trained)")
    parser.add_argument("--threads", type=int, default=0, help="to compute with (default: one a core)")
    of = "of a model that gives vectors: "
    parser.add_argument(
        "--gallery", type=Path, help=f"{of}name rows by it; an .npz by mmcli export --gallery NAME --format npz"
    )
    parser.add_argument(
        "--threshold", type=float, help="similarity from which on a name is accepted (default: the model's own)"
    )
    parser.add_argument("--compare", nargs=2, metavar="FILE", help=f"{of}how alike two files are")
    parser.add_argument("--find", metavar="FILE", help=f"{of}the most alike rows of the --gallery")
    parser.add_argument("-k", type=int, default=5, help="how many of them (default: 5)")
    parser.add_argument("--column", help="which column the files are of, where the model looks at several")
    return parser


def _refuse(model: Model, options: argparse.Namespace) -> None:
    """Raises TableError where the model cannot do what is asked, or something is missing for it."""
    wanted = [name for name in ("gallery", "compare", "find") if getattr(options, name) is not None]
    if wanted and model.about["task"]["link"] != "embedding":
        raise TableError(f"--{wanted[0]}: this model gives no vectors to compare")
    if options.beam and (options.beam < 0 or not model.beam):
        raise TableError(f"--beam {options.beam}: " + ("1 or more" if model.beam else "this model follows no beam"))
    if options.find and options.gallery is None:
        raise TableError("--find looks in a gallery: name it with --gallery")
    if options.gallery is not None and options.table is None and not options.find:
        raise TableError("--gallery: name a table too, or --find FILE")
    if (options.compare or options.find) and options.table is not None:
        raise TableError("both a table and files: leave one out")
    if options.compare and (options.find or options.gallery is not None):
        raise TableError("--compare looks at two files alone: leave --find and --gallery out")
    if options.threshold is not None and not wanted:
        raise TableError("--threshold goes with --gallery, --compare or --find")
    if options.k < 1:
        raise TableError(f"-k {options.k}: one row or more")
    if (options.compare or options.find) and options.output is not None:
        raise TableError("--output is of a table: what files are is told on the console")


def _of_files(model: Model, held: lookup.Gallery | None, options: argparse.Namespace) -> int:
    """Tells how alike two files are, or which rows of the gallery are most like one."""
    if model.about["only_tensors"]:
        return _failed(f"this model takes no files, only tensors: {model.about['only_tensors']}")
    column = model.columns[0] if options.column is None and len(model.columns) == 1 else options.column
    if column not in model.columns:
        raise TableError(f"--column: which of {', '.join(model.columns)} the files are of")
    model.prepare()
    files = options.compare or [options.find]
    cells = {name: files if name == column else [None] * len(files) for name in model.columns}
    outputs, rejects = model.outputs(cells, options.media_root or ".", 1)
    if rejects:
        raise TableError(f"{rejects[0][2]}: {rejects[0][3]}")
    vectors = lookup.units(outputs[OUTPUTS])
    least = model.about["task"]["threshold"] if options.threshold is None else options.threshold
    if held is None:
        alike = float(vectors[0] @ vectors[1])
        print(f"similarity {alike:.4f}: {'the same' if alike >= least else 'not the same'} (from {least:.4f} on)")  # noqa: T201
        return 0
    rows, found = held.nearest(vectors, options.k)
    for row, alike in zip(rows[0].tolist(), found[0].tolist(), strict=True):
        said = "accepted" if alike >= least else "not accepted"
        print(f"{held.ids[row]}  {held.names[row]}  {alike:.4f}  {said}")  # noqa: T201 - a script
    return 0


def predict(
    model: Model,
    table: Table,
    output: Path | None,
    media_root: str,
    held: lookup.Gallery | None = None,
    least: float = 0.0,
) -> int:
    """Every row of the table with its prediction, in order; what could not be read is told on standard error."""
    missing = [column for column in model.columns if column not in table.columns]
    if len(missing) == len(model.columns):
        wanted, found = ", ".join(missing), ", ".join(table.columns)
        raise TableError(f"{table.path} has none of the model's inputs: {wanted}; its columns: {found}")
    if missing:
        _say(f"{table.path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}: absent in every row")
    rows = rejected = 0
    with _opened(output, table) as file:
        for batch in table.batches(BATCH_ROWS):
            told = _columns(table, batch)
            cells = {name: [tables.cell(own) for own in column] for name, column in told.items()}
            looked = [*model.columns, *model.besides]
            wanted_cells = {name: _without(cells.get(name, [None] * len(batch)), model.about["na"]) for name in looked}
            outputs, rejects = model.outputs(wanted_cells, media_root, rows + 1)
            for row, column, cell, why in rejects:
                _say(f"row {row}, column {column!r}, {cell!r}: {why}")
            made = model.answers(outputs, model.written(outputs))
            if held is not None:
                named = held.decode(outputs[OUTPUTS], model.here, least)
                made = {f"{model.about['target']}_predicted{name}": own for name, own in named.items()}
            everything = {**told, **made}  # blanks and all
            header = [list(everything)] if not rows else []
            tables.write(file, [*header, *zip(*everything.values(), strict=True)], _delimiter(output, table))
            rows, rejected = rows + len(batch), rejected + len(rejects)
        if not rows:
            raise TableError(f"{table.path} has a header but no rows: there is nothing to predict")
    if rejected:
        _say(f"{rejected:,} cells could not be read and count as absent")
    _say_remarks(model)
    return 0


def _without(cells: Sequence[str | None], absent: Sequence[str]) -> list[str | None]:
    """The cells without those that were told to mean missing."""
    return [None if cell is not None and cell.strip() in absent else cell for cell in cells]


def check(model: Model) -> int:
    """Runs the rows of example.safetensors, tells how far the outputs are from those that came with them, and what they say."""
    rows = read_tensors(model.folder / "example.safetensors")
    outputs = model.run(rows)
    steps, written = outputs.get(STEPS), model.written(outputs)
    search = model.about["task"].get("search")
    found = outputs[OUTPUTS] if search is None else np.array([best(own, search["exponent"])[1] for own in written])
    differences = np.abs(found - rows[OUTPUTS])
    if steps is not None:  # what lies behind a row's end says nothing
        differences = differences[np.arange(found.shape[1])[None] < steps[:, None]]
    print(f"largest difference from PyTorch: {differences.max():.1e}")  # noqa: T201 - a script
    for row in zip(*model.answers(outputs, written).values(), strict=True):
        print("  ".join(str(cell) for cell in row[:2]))  # noqa: T201 - a script
    return 0


def _columns(table: Table, batch: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return dict(zip(table.columns, zip(*batch, strict=True), strict=True))


def _delimiter(output: Path | None, table: Table) -> str:
    """By the name of what is written; what goes to standard output looks like the table."""
    if output is None:
        return table.delimiter
    return "\t" if output.suffix.lower() in {".tsv", ".tab"} else ","


@contextlib.contextmanager
def _opened(output: Path | None, table: Table) -> Iterator[TextIO]:
    """The file to write, which takes its name when it is whole; or standard output."""
    if output is None:
        with open(sys.stdout.fileno(), "w", encoding="utf-8", newline="", closefd=False) as file:
            yield file
        return
    if output.resolve() == table.path.resolve():
        raise TableError(f"--output {output} is the table itself: choose another name")
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(f".{output.name}.partial")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


def _say_remarks(model: Model) -> None:
    for column, found in model.remarks.items():
        for what, count in found.items():
            _say(f"column {column!r}: {count:,} cells {what}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - a script


def _failed(text: str) -> int:
    _say(f"error: {text}")
    return 1
