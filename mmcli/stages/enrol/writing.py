"""The draft of a gallery: what its manifest says, and the command that makes it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmcli.artifacts import disk, layout, store
from mmcli.artifacts.store import Draft
from mmcli.models import gallery
from mmcli.models.gallery import Gallery
from mmcli.options.enrol import Options
from mmcli.stages import Context


def again(config: dict[str, Any], name: str, root: Path, model: bool = True) -> str:
    """The command that makes a gallery of that config again, by the model that it was told, or by the best."""
    words = ["mmcli", "enrol", *config["tables"], "--gallery", name]
    words += [word for own in config.get("told", []) if model or own[0] != "--model" for word in own]
    words += [word for own in config["columns"] for word in ("--column", own)]
    words += ["--vectors", gallery.INT8] * (gallery.kind_of(config) == gallery.INT8)
    words += ["--index"] * bool(config["index"]) + ["-a", str(root)] * (root != Path("artifacts"))
    return shlex.join(words)


def kind_of(options: Options, old: Gallery | None) -> str:
    """How vectors are to be kept: as they are, or as is told of a gallery that is begun."""
    return options.vectors or gallery.kind_of({} if old is None else old.artifact.config)


def _told(options: Options, before: dict[str, Any]) -> list[list[str]]:
    """The flags that tables were read by, with their values: the last that was said of each."""
    said = {
        "--id": options.id,
        "--name": options.name,
        "--media-root": options.media_root,
        "--model": options.model,
        "--encoding": options.encoding,
        "--delimiter": options.delimiter,
    }
    found = {own[0]: own for own in before.get("told", [])}
    found |= {flag: [flag, str(value)] for flag, value in said.items() if value is not None}
    found |= {"--allow-missing": ["--allow-missing"]} if options.allow_missing else {}
    return list(found.values())


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
        "columns": [*(before["columns"] if before else options.columns)],
        "removed": before.get("removed", []),
        "index": options.index or before.get("index", False),
        "vectors": kind_of(options, old),
        "told": _told(options, before),
    }
    command = again(config, options.gallery, context.root)
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
