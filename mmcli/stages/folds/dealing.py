"""Which rows are whose val, and the preprocessed table of a fold: that of the root with other splits."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from torch import Tensor

from mmcli.artifacts import layout, store
from mmcli.data.dataset import ROWS, Dataset, parts_of
from mmcli.stages import Context
from mmcli.tables.splitting import BOTH, SPLITS, TRAIN, UNLABELLED, VAL, deal
from mmcli.training import device

KEPT = "kept"
"""The split, in the further folds, of val rows that are never to be trained on: nobody looks at them there."""


def folds_of(dataset: Dataset, count: int, keep_val: bool, seed: int) -> Tensor:
    """int64 [N]: the fold whose val each row is, from 1; 0 of rows that no fold is trained on (test, rows without a target, and
    with `keep_val` those of val). The same for the same seed.

    Raises:
        ConfigError: train is too small for so many parts.
    """
    train, val = dataset.splits["train"], dataset.splits["val"]
    task = dataset.task
    strata = task.strata(task.config, [dataset.cells[row] for row in train.tolist()])
    named = dataset.rows["group"].fillna("").tolist() if "group" in dataset.rows else None
    groups = None if named is None else [named[row] for row in train.tolist()]
    parts = deal(strata, groups, count - 1, device.derive_seed(seed, "folds", str(count)))
    of_row = torch.zeros(len(dataset.rows), dtype=torch.int64)
    of_row[train] = torch.tensor(parts) + 2
    of_row[val] = 0 if keep_val else 1
    return of_row


def deal_one(number: int, count: int, of_row: Tensor, keep_val: bool, dataset: Dataset, context: Context) -> None:
    """The preprocessed table of one fold, in its own root; of the refit, where `number` is 0."""
    whole, root = dataset.artifact, layout.fold(context.root, number)
    fingerprint = store.digest([whole.hash, number, count, keep_val, context.seed])
    of = {"number": number, "of": count} if number else {"refit": True}
    if not context.force and store.up_to_date(root, layout.PREPROCESS, fingerprint):
        return
    with store.writing(
        root,
        layout.PREPROCESS,
        kind="preprocess",
        command=context.command or str(whole.manifest["command"]),
        config={**whole.config, "fold": {**of, "keep_val": keep_val}},
        seed=context.seed,
        parents={},
        fingerprint=fingerprint,
        anew=context.force,
    ) as draft:
        for file, entry in whole.manifest["files"].items():
            if file != ROWS:
                _linked(whole.file(file), draft.path / file)
                draft.tensors |= {file: entry["tensors"]} if "tensors" in entry else {}
        rows = dataset.rows.copy()
        rows["split"] = _splits(rows["split"].tolist(), of_row.tolist(), number, keep_val)
        rows.to_parquet(draft.path / ROWS, index=False)
        draft.parts.update(parts_of(dataset.schema))
        counts = rows["split"].value_counts()
        draft.metrics.update({name: int(counts.get(name, 0)) for name in (*SPLITS, UNLABELLED)})
        draft.metrics[TRAIN] += int(counts.get(BOTH, 0))
        draft.metrics["rejects"] = whole.metrics["rejects"]


def _splits(splits: list[str], of_row: list[int], number: int, keep_val: bool) -> list[str]:
    """The splits as a fold has them: its part is val, and all else that teaches is train. In the refit, number 0, all teach;
    val is what is kept, or the same rows again, for stages that want some."""
    found = []
    for split, own in zip(splits, of_row, strict=True):
        if split not in {TRAIN, VAL}:
            found.append(split)
        elif number == 0:
            found.append(split if keep_val else BOTH)
        elif split == VAL and keep_val:
            found.append(KEPT)
        else:
            found.append(VAL if own == number else TRAIN)
    return found


def _linked(file: Path, place: Path) -> None:
    """The same file under another name, or a copy where the file system has no such names. Files of artifacts are replaced,
    never written into."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    try:
        os.link(file, place)
    except OSError:
        shutil.copyfile(file, place)
