"""When the words of a text are said: the steps that a model writes along, in seconds of the sound that leads; their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TextIO

import torch

from mmcli.artifacts import store
from mmcli.data.inputs import Input
from mmcli.errors import ConfigError
from mmcli.models.forward import forward_columns
from mmcli.models.networks import AveragedHeads, FusedModel
from mmcli.signals import Column, Source
from mmcli.tasks import Task
from mmcli.text.words import Timed, as_json, as_srt, in_seconds
from mmcli.training.device import Compute

PROBED = 400
"""Frames by which it is found how many of them make a step."""


@dataclass(frozen=True)
class Clock:
    """How long a step is, of a model whose answers follow the steps of sound."""

    task: Task
    lead: str
    """The input that leads."""
    stride: int
    """Frames to a step."""
    frame_s: float
    """Seconds to a frame."""

    @classmethod
    def of(cls, network: FusedModel, inputs: Mapping[str, Input], compute: Compute) -> Self:
        """By what the model makes of a recording of so many frames.

        Raises:
            ConfigError: answers follow no steps, or those of a column that is no sound.
        """
        task, heads = network.task, network.fusion_head
        if not all(head.head.reads_steps for head in (heads.each if isinstance(heads, AveragedHeads) else [heads])):
            raise ConfigError(
                f"--words: answers of this model ({task.outputs.words}) follow no steps of a recording",
                "It is for texts that the head ctc reads off sound.",
            )
        each = heads.each if isinstance(heads, AveragedHeads) else [heads]
        leads = list(dict.fromkeys(head.sources[head.names[0]] for head in each))
        frame_s = inputs[leads[0]].first.step_s
        if len(leads) > 1 or not frame_s:
            others = [name for name, own in inputs.items() if own.first.step_s]
            raise ConfigError(
                f"--words: the texts follow the steps of {' and '.join(map(repr, leads))}, which are no times of a recording",
                f"Fuse with a column of sound first: mmcli fuse --order {others[0]}, and name that model with --model."
                if others
                else "The model reads no sound.",
            )
        return cls(task, leads[0], _stride(network, inputs, leads[0], compute), frame_s)

    def words(self, outputs: Any, columns: Mapping[str, Source]) -> list[list[Timed]]:
        """Of each row the words of its text, in seconds; without times where the sound is missing and another column led."""
        lead = columns[self.lead]
        steps, frames = outputs.lengths, lead.lengths
        assert steps is not None
        assert frames is not None
        rows = zip(self.task.words(outputs), steps.tolist(), frames.tolist(), lead.present.tolist(), strict=True)
        return [
            in_seconds(words, own_steps, own_frames, self.stride, self.frame_s)
            if present
            else [Timed(own.word, None, None, own.confidence) for own in words]
            for words, own_steps, own_frames, present in rows
        ]


def _stride(network: FusedModel, inputs: Mapping[str, Input], lead: str, compute: Compute) -> int:
    columns: dict[str, Source] = {}
    for name, own in inputs.items():
        none = own.join({column: member.transform([None]).column for column, member in own.members.items()})
        columns[name] = none
        if name == lead:
            values = torch.zeros(PROBED, *none.values.shape[1:], dtype=none.values.dtype)
            columns[name] = Column(values, torch.ones_like(none.present), torch.tensor([0, PROBED]))
    found: Any = forward_columns(network, columns, compute)
    return -(-PROBED // max(int(found.lengths[0]), 1))


class Words:
    """The words of each row, written as they come: lines of JSON, or subtitles; a file takes its name when it is whole."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path, self.clock = path, clock
        self.rows = self.without = self.first = 0
        """Rows so far; those without times, and the first of them, from 1."""
        self._temporary = path.with_name(f".{path.name}.partial")
        self._file: TextIO | None = None

    def write(self, rows: Sequence[Sequence[Timed]]) -> None:
        """Takes the next rows of the table.

        Raises:
            ConfigError: they are several for a file of subtitles.
        """
        for words in rows:
            self.rows += 1
            if words and words[0].start is None:
                self.without, self.first = self.without + 1, self.first or self.rows
            if not self.path.suffix:
                store.write_atomic(self.path / f"{self.rows:06d}.srt", as_srt(words).encode(), flush=False)
                continue
            if self.path.suffix.lower() == ".srt" and self.rows > 1:
                raise ConfigError(
                    f"--words {self.path}: the table has more than one row, subtitles are of one recording",
                    "Name a folder, for a file of each row, or a .json.",
                )
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._temporary.open("w", encoding="utf-8", newline="")
            self._file.write(as_srt(words) if self.path.suffix.lower() == ".srt" else as_json(self.rows, words) + "\n")

    def close(self, keep: bool) -> None:
        """Gives the file its name, or takes it away."""
        if self._file is not None:
            self._file.close()
        if self._file is not None and keep:
            self._temporary.replace(self.path)
        else:
            self._temporary.unlink(missing_ok=True)
