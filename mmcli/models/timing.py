"""When the words of a text are said: the steps that a model writes along, in seconds of the sound that leads."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch

from mmcli.data.inputs import Input
from mmcli.errors import ConfigError
from mmcli.models.forward import forward_columns
from mmcli.models.networks import AveragedHeads, FusedModel
from mmcli.signals import Column, Source
from mmcli.tasks import Task
from mmcli.text.words import Timed, in_seconds, untimed
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
                f"Fuse with a column of sound first: mmcli fuse --order {shlex.quote(others[0])}, and name that model "
                "with --model."
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
            in_seconds(words, own_steps, own_frames, self.stride, self.frame_s) if present else untimed(words)
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
