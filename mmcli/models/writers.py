"""A model that writes texts unit by unit, as two graphs: `encode`, from the columns' tensors to what a writer looks at, and
`step`, from the last units to the log-probabilities of the next. A loop in numpy (`exports.writing`) stands between them.

Of each of M writers, whose probabilities are averaged at each step, `encode` gives `keys.m` and `values.m`
[layers, B, H, S, D / H] of its memory, `mask.m` [B, S], `memory.m` [B, S, W] itself and, where it is read by CTC besides,
`frames.m` [B, S, V]; and `limits` [B], how many units a text may have. `step` takes `last` [A, W] (A rows with W texts each),
the keys, values and masks of those rows, and `own_keys.m` and `own_values.m` [layers, A, W, H, T, D / H] of the T units before;
it gives `log_probs` [A, W, V] and the latter with the last units in them. Numbers of rows, texts, tokens and units are free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmcli.exports import writing as plain
from mmcli.heads import Writes
from mmcli.models import exporter, graphs
from mmcli.models.networks import AveragedHeads, FusedModel, FusionHead
from mmcli.signals import Column, Signal
from mmcli.text import Hypothesis
from mmcli.text.outputs import WRITINGS
from mmcli.text.reciter import Reciter
from mmcli.text.writer import Writer, mixed
from mmcli.text.writing import Member, Notes, Writing

STEP = "step.onnx"
"""The file of the second graph, beside the first."""
LIMITS, LAST, LOG_PROBS = "limits", "last", "log_probs"
UNITS_TRACED, TEXTS_TRACED = 5, 3
"""Units that were written, and texts of a row, in what the second graph is traced on: more than one, and numbers apart."""


def each_head(network: FusedModel) -> list[tuple[FusionHead, Tensor]]:
    """The fusions that are averaged, each with its share."""
    heads = network.fusion_head
    if isinstance(heads, AveragedHeads):
        return list(zip(heads.each, heads.shares, strict=True))
    return [(heads, torch.ones(()))]


def writes(network: FusedModel) -> bool:
    """Whether all its texts are written unit by unit."""
    return all(isinstance(own.head, Writes) for own, _ in each_head(network))


@dataclass(frozen=True)
class How:
    """How texts are searched for and ranked, and how sure of them one may be: see `text.writing.Writing`."""

    width: int
    exponent: float
    ctc: float
    certainty: tuple[float, float] | None
    reader: int | None
    """Which of the writers reads its tokens by CTC, too: that of the largest share."""

    @classmethod
    def of(cls, network: FusedModel) -> How:
        """As the mean of the network's heads has it."""
        heads = [(own.head, float(share)) for own, share in each_head(network) if isinstance(own.head, Writes)]
        first = max(heads, key=lambda pair: pair[1])[0]
        sure = {head.sure for head, _ in heads}
        readers = [place for place, (head, _) in enumerate(heads) if head.writer.frames is not None]
        reader = max(readers, key=lambda place: heads[place][1], default=0)
        return cls(
            max(head.beam for head, _ in heads),
            float(first.exponent),
            heads[reader][0].ctc_weight if readers else 0.0,
            sure.pop() if len(sure) == 1 else None,
            reader if readers else None,
        )


class Encode(nn.Module):
    """The first graph."""

    def __init__(self, network: FusedModel, fields: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.network = network
        self.fields = dict(fields)

    @property
    def names(self) -> list[str]:
        """Those of its answers."""
        found = [LIMITS]
        for place, (own, _) in enumerate(each_head(self.network)):
            found += [f"{kind}.{place}" for kind in ("keys", "values", "mask", "memory")]
            found += [f"frames.{place}"] if _writer(own).frames is not None else []
        return found

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        left: Iterator[Any] = iter(tensors)
        signals = {name: Signal(**{field: next(left) for field in own}) for name, own in self.fields.items()}
        features, limits, found = self.network.features(signals), [], list[Tensor]()
        for own, _ in each_head(self.network):
            assert isinstance(own.head, Writes)
            memory, mask, most = own.head.memory(own.fused(features))
            pairs = own.head.writer.begin(memory, mask).pairs
            limits.append(most)
            found += [
                torch.stack([keys for keys, _ in pairs]),
                torch.stack([values for _, values in pairs]),
                mask,
                memory.float(),
            ]
            found += [own.head.writer.read(memory)] if own.head.writer.frames is not None else []
        return torch.stack(limits).amax(0), *found


class Step(nn.Module):
    """The second graph."""

    def __init__(self, network: FusedModel) -> None:
        super().__init__()
        self.writers = nn.ModuleList([_writer(own) for own, _ in each_head(network)])
        temperatures = [own.temperature.detach().clone() * network.fusion_head.temperature for own, _ in each_head(network)]
        if not isinstance(network.fusion_head, AveragedHeads):
            temperatures = [network.fusion_head.temperature.detach().clone()]
        self.temperatures: Tensor
        self.log_shares: Tensor
        self.register_buffer("temperatures", torch.stack(temperatures))
        self.register_buffer("log_shares", torch.stack([share.detach().log() for _, share in each_head(network)]))

    @property
    def names(self) -> list[str]:
        """Those of what it takes."""
        kinds = ("keys", "values", "mask", "own_keys", "own_values")
        return [LAST, *(f"{kind}.{place}" for place in range(len(self.writers)) for kind in kinds)]

    @property
    def answers(self) -> list[str]:
        """Those of what it gives."""
        return [LOG_PROBS, *(f"new_{kind}.{place}" for place in range(len(self.writers)) for kind in ("keys", "values"))]

    def forward(self, last_AW: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        A, W = last_AW.shape
        each, grown = list[Tensor](), list[Tensor]()
        for place, writer in enumerate(self.writers):
            assert isinstance(writer, Writer | Reciter)
            keys, values, mask, own_keys, own_values = tensors[5 * place : 5 * place + 5]
            cache = tuple(zip(own_keys.flatten(1, 2), own_values.flatten(1, 2), strict=True))
            logits, made = writer.next(last_AW.flatten(), cache, list(zip(keys, values, strict=True)), mask)
            each.append((logits / self.temperatures[place]).log_softmax(-1))
            for kept in zip(*made, strict=True):
                grown.append(torch.stack(kept).unflatten(1, (A, W)))
        return mixed(each, list(self.log_shares)).unflatten(0, (A, W)), *grown


def _writer(own: FusionHead) -> Writer | Reciter:
    assert isinstance(own.head, Writes)
    return own.head.writer


def first_step(step: Step, encoded: Mapping[str, Tensor], texts: int = TEXTS_TRACED, units: int = UNITS_TRACED) -> list[Tensor]:
    """What the second graph takes after so many units of so many texts a row: numbers that it might have been given."""
    rows = len(encoded[LIMITS])
    generator = torch.Generator().manual_seed(0)
    writers = [own for own in step.writers if isinstance(own, Writer | Reciter)]
    found = [torch.randint(0, writers[0].sizes.units, (rows, texts), generator=generator)]
    for place, writer in enumerate(writers):
        sizes = writer.sizes
        found += [encoded[f"{kind}.{place}"] for kind in ("keys", "values", "mask")]
        if isinstance(writer, Reciter):  # what it has read are units
            found += [torch.randint(0, sizes.units, (1, rows, texts, 1, units, 1), generator=generator).float()] * 2
            continue
        shape = (sizes.layers, rows, texts, sizes.heads, units, sizes.dim // sizes.heads)
        found += [torch.randn(shape, generator=generator) for _ in range(2)]
    return found


def _with_tokens(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same with each writer's single token twice, where it looks at no more: an axis of one place would be fixed at it."""
    found = list(tensors)
    for place in range(1, len(found), 5):  # keys, values and mask of each, behind the last units
        for own, axis in zip(range(place, place + 3), (3, 3, 1), strict=True):
            found[own] = found[own].repeat_interleave(2, axis) if found[own].shape[axis] == 1 else found[own]
    return found


def exported_step(step: Step, tensors: Sequence[Tensor]) -> torch.export.ExportedProgram:
    """The second graph, traced on such tensors.

    Raises:
        RuntimeError: something in it cannot be traced.
    """
    rows, texts = torch.export.Dim("rows", min=1, max=65536), torch.export.Dim("texts", min=1, max=1024)
    units = torch.export.Dim("units", min=0, max=65536)
    tensors = _with_tokens(tensors)
    shapes: list[dict[int, Any]] = [{0: rows, 1: texts}]
    for place in range(len(step.writers)):
        tokens = torch.export.Dim(f"tokens_{place}", min=1, max=65536)
        shapes += [{1: rows, 3: tokens}] * 2 + [{0: rows, 1: tokens}] + [{1: rows, 2: texts, 4: units}] * 2
    with torch.no_grad(), graphs.quiet(), exporter.tracing():
        return torch.export.export(step.eval(), tuple(tensors), dynamic_shapes=(shapes[0], tuple(shapes[1:])), strict=False)


def write(network: FusedModel, signals: Mapping[str, Signal], encode: Path, step: Path) -> None:
    """Writes both graphs as ONNX.

    Raises:
        ConfigError: the packages of the extra `export` are not installed.
        RuntimeError: something in them cannot be traced, or said in ONNX.
    """
    network, host = network.eval(), {name: own.to(torch.device("cpu")) for name, own in signals.items()}
    first = Encode(network, graphs.fields_of(host))
    program, tensors = graphs.traced(first, host, onnx=True)
    graphs.write_onnx(program, list(tensors), encode, first.names)
    second = Step(network).eval()
    with torch.no_grad():
        encoded = dict(zip(first.names, first(*tensors.values()), strict=True))
    graphs.write_onnx(exported_step(second, first_step(second, encoded)), second.names, step, second.answers)


@torch.no_grad()
def check(network: FusedModel, signals: Mapping[str, Signal], encode: Path, step: Path, exact: bool) -> None:
    """Holds both graphs against PyTorch, as `graphs.check` does; the second before any unit, and after some of several texts.

    Raises:
        RuntimeError: they cannot be run, or answer otherwise.
    """
    first, second = Encode(network.eval(), graphs.fields_of(signals)), Step(network).eval()
    one, two = graphs.Session(encode), graphs.Session(step)
    for said, rows in (("the longest rows", signals), ("rows of length 1", graphs.shortest(signals))):
        tensors = graphs.tensors_of(rows)
        wanted = dict(zip(first.names, first(*tensors.values()), strict=True))
        found = one({name: own.numpy() for name, own in tensors.items()})
        for name, own in wanted.items():
            graphs.hold(said, torch.from_numpy(found[name]).float(), own.float(), exact)
        for texts, units in ((1, 0), (TEXTS_TRACED, UNITS_TRACED)):
            given = first_step(second, wanted, texts, units)
            made = two({name: own.numpy() for name, own in zip(second.names, given, strict=True)})
            for name, own in zip(second.answers, second(*given), strict=True):
                graphs.hold(f"{said}, after {units} units,", torch.from_numpy(made[name]), own, exact)


class OnnxWriter:
    """Both graphs, run by ONNX Runtime on the CPU, with the loop between them."""

    def __init__(self, network: FusedModel, encode: Path, step: Path, threads: int = 0) -> None:
        self.network = network
        self.encode, self.step = graphs.Session(encode, threads), graphs.Session(step, threads)

    def __call__(self, tensors: Mapping[str, Tensor]) -> Writing:
        """What is written of B rows, with the texts found already. Asked for the loss of a text it goes by PyTorch's weights,
        and by the memory that the first graph gave.

        Raises:
            RuntimeError: ONNX Runtime cannot run them.
        """
        how = How.of(self.network)
        encoded = self.encode({name: own.detach().cpu().numpy() for name, own in tensors.items()})
        notes, members, temperatures = Notes(), list[Member](), Step(self.network).temperatures
        for row, (texts, scores) in enumerate(plain.write(self.step, encoded, how.width, how.ctc, how.reader)):
            notes.texts[row] = [Hypothesis(ids, total, score) for (ids, total), score in zip(texts, scores, strict=True)]
        for place, (own, share) in enumerate(each_head(self.network)):
            memory, mask = (torch.from_numpy(encoded[f"{kind}.{place}"]) for kind in ("memory", "mask"))
            ends = torch.cat([torch.zeros(1, dtype=torch.int64), mask.sum(1).cumsum(0)])
            column = Column(memory[mask], torch.ones(len(mask), dtype=torch.bool), ends)
            members.append(Member(_writer(own), column, share.detach().cpu(), temperatures[place].cpu()))
        limits = torch.from_numpy(encoded[LIMITS])
        rows, search = torch.arange(len(limits)), (how.width, how.exponent, how.ctc, how.certainty)
        return WRITINGS.plain(Writing(tuple(members), rows, limits, *search, notes=notes))


def why_no_graphs(network: FusedModel) -> str:
    """Why a model cannot be a graph, or two that write, in words; empty where it may."""
    return "" if writes(network) else graphs.why_no_graph(network)
