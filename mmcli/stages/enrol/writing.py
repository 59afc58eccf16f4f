"""The draft of a gallery: what its manifest says, and the command that makes it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmcli.artifacts import disk, layout, store
from mmcli.artifacts.store import Draft
from mmcli.models import gallery
from mmcli.models.gallery import Gallery
from mmcli.options.enrol import Options
from mmcli.stages import Context


@contextmanager
def writing(
    options: Options, context: Context, old: Gallery | None, parents: dict[str, str], model: str, more: tuple[Path, ...]
) -> Iterator[tuple[Draft, dict[str, object]]]:
    """The draft of the gallery, under its lock, and what is laid over its config; nothing is left where the work fails."""
    before = {} if old is None else old.artifact.config
    tables = [*dict.fromkeys([*before.get("tables", []), *map(str, more)])]
    config = {
        "model": model,
        "width": before.get("width", 0),
        "tables": tables,
        "columns": [*(before.get("columns") or options.columns)],
        "removed": before.get("removed", []),
        "index": options.index or before.get("index", False),
    }
    told = [("--id", options.id), ("--name", options.name), ("--media-root", options.media_root), ("--model", options.model)]
    words = ["mmcli", "enrol", *tables, "--gallery", options.gallery]
    words += [word for flag, value in told if value is not None for word in (flag, str(value))]
    words += [word for own in config["columns"] for word in ("--column", own)]
    words += ["--index"] * bool(config["index"]) + ["-a", str(context.root)] * (context.root != Path("artifacts"))
    command = shlex.join(words) if more else old.artifact.manifest["command"] if old else ""
    fingerprint = store.digest([options.gallery, parents, config])
    late = dict[str, object]()
    with store.writing(
        context.root,
        layout.gallery(options.gallery),
        kind=gallery.KIND,
        command=command,
        config=config,
        seed=context.seed,
        parents=parents,
        fingerprint=fingerprint,
        late=late,
        anew=True,
    ) as draft:
        try:
            yield draft, late
        except BaseException:
            disk.removed(draft.path)
            raise
