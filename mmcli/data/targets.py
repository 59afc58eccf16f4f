"""Which task a table's targets are, and their cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mmcli import registry
from mmcli.config.settings import Settings
from mmcli.data.dataset import target_columns
from mmcli.errors import ConfigError, DataError
from mmcli.tasks import Cells, Task


def cells_of(rows: pd.DataFrame, targets: Sequence[str]) -> list[tuple[str | None, ...]]:
    """Each row's target cells, from a frame with `target_columns`."""
    frame = rows[target_columns(list(targets))].astype(object)
    return list(frame.where(frame.notna(), None).itertuples(index=False, name=None))


def choose(
    cells: Cells, targets: Sequence[str], told: str | None, settings: Settings, options: Mapping[str, Mapping[str, Any]]
) -> tuple[type[Task], Any, str]:
    """The task told, or the one that is surest of the targets; its options; and why it was chosen, where it was not told.

    `settings` are those of preprocess; `options`, by task, come from flags and win.

    Raises:
        DataError: there is no target anywhere.
        ConfigError: a flag is for another task.
    """
    full = [row for row in cells if None not in row]
    if not full:
        names = " or ".join(map(repr, targets))
        raise DataError(f"the target {names} is empty in every row", "Choose another with --target.")
    kinds: dict[str, tuple[type[Task], Any]] = {}
    for name in [told] if told else registry.parts("tasks"):
        config = settings.part("tasks", name)
        config = type(config)(**{**config.model_dump(), **options.get(name, {})})
        kinds[name] = (registry.load("tasks", name), config)
    likeness = {name: kind.sniff(config, full) for name, (kind, config) in kinds.items()}
    best = max(likeness, key=lambda name: likeness[name].confidence)
    for name in sorted(set(options) - {best}):
        flags = ", ".join(options[name])
        raise ConfigError(f"the option {flags} is for {name}, the task is {best}", f"Add --task {name}, or leave it out.")
    others = " or ".join(name for name in registry.parts("tasks") if name != best)
    why = "" if told else f"task: {best}, since the target has {likeness[best].reason} (--task {others} to change)"
    return (*kinds[best], why)
