"""A gallery for other stores: one table of its rows and vectors, as Parquet or in LanceDB; or for the script of an exported
model, as arrays of numpy."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from mmcli.artifacts import disk
from mmcli.errors import ConfigError, MissingPackageError
from mmcli.models import gallery
from mmcli.models.gallery import Gallery
from mmcli.options.export import OF_GALLERIES, Options
from mmcli.stages import Context, Outcome

VECTOR = "vector"
"""The column of the vectors: lists of D numbers in single precision."""


def run(name: str, options: Options, context: Context) -> Outcome:
    """Writes the gallery of that name.

    Raises:
        ArtifactError: there is no such gallery, or it is damaged.
        ConfigError: what it would write is there already, or a package is missing.
    """
    held, form = gallery.read(context.root, name), _format(options)
    to = options.output or Path(f"{name}.{form}")
    written = to / f"{name}.lance" if form == "lancedb" else to
    if written.exists() and not context.force:
        raise ConfigError(f"{written} is there already", "Choose another name: -o; or add --force to replace it.")
    if form != "lancedb" and to.is_dir():
        raise ConfigError(f"-o {to} is a folder, and the gallery becomes one file", f"-o {to / f'{name}.{form}'}")
    store = _lancedb() if form == "lancedb" else None
    if context.dry_run:
        context.console.note(f"dry run: would write {written}")
        return Outcome({"gallery": name}, context.command)
    if store is not None:
        shutil.rmtree(written, ignore_errors=True)
        store.connect(str(to)).create_table(name, _table(held))
    else:
        with disk.opened(to) as file:
            if form == "npz":
                np.savez(file, **_arrays(held))
            else:
                pyarrow.parquet.write_table(_table(held), file)
    said = f"{written}: {len(held.rows):,} rows, vectors of {held.vectors.shape[1]} numbers of length one"
    context.console.note(f"{said}: compare them by their inner product")
    return Outcome(
        {"file": str(written), "rows": len(held.rows), "width": held.vectors.shape[1]}, f"look at {shlex.quote(str(written))}"
    )


def _format(options: Options) -> str:
    """As told, or as the file is called.

    Raises:
        ConfigError: the two are not the same.
    """
    suffix = "" if options.output is None else options.output.suffix.lower().removeprefix(".")
    named = suffix if suffix in OF_GALLERIES else None
    if options.format and named and named != options.format:
        raise ConfigError(f"-o {options.output} is called .{named}, --format is {options.format}", "Leave one out.")
    return options.format or named or OF_GALLERIES[0]


def _table(held: Gallery) -> pa.Table:
    values = pa.array(held.vectors.float().flatten().numpy())
    columns = {str(name): pa.array(held.rows[name].tolist(), pa.string()) for name in held.rows.columns}
    place = VECTOR
    while place in columns:
        place += "_"
    return pa.table({**columns, place: pa.FixedSizeListArray.from_arrays(values, held.vectors.shape[1])})


def _arrays(held: Gallery) -> dict[str, Any]:
    """The vectors in half precision; what rows are called, and of which model they are, as JSON in bytes."""
    (model,) = held.artifact.manifest["parents"].values()
    told = {"rows": held.rows[[gallery.ID, gallery.NAME]].to_numpy().tolist(), "about": {"model": model}}
    as_bytes = {name: np.frombuffer(json.dumps(own, ensure_ascii=False).encode(), np.uint8) for name, own in told.items()}
    return {"vectors": held.vectors.half().numpy(), **as_bytes}


def _lancedb() -> Any:
    try:
        import lancedb
    except ImportError:
        raise MissingPackageError(
            "--format lancedb needs the package lancedb, which is not installed",
            "Where mmcli was installed from: pip install '.[lancedb]'; or --format parquet, which many stores read.",
        ) from None
    return lancedb
