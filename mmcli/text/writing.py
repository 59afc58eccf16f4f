"""Texts that networks are yet to write, as outputs of many rows: the memory of each row, and the networks that write, each with
its share. Writing is done when it is asked for, and then remembered.

What is kept (`plain`) holds the networks as they were: training goes on, and exchanges weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcli.layers.starting import shapes_alone
from mmcli.signals import OUTPUTS, Column, Outputs
from mmcli.text import Hypothesis
from mmcli.text.beam import Frames, beam, greedy, normalised
from mmcli.text.reciter import Reciter
from mmcli.text.writer import EDGE, Sizes, Together, Writer, mixed

AT_ONCE = 128
"""Rows that are written or scored at once."""
GLIMPSED = 500
"""Rows that are written at most where a glimpse is enough."""


@dataclass(frozen=True)
class Member:
    """One network that writes, and what it looks at in each row."""

    writer: Writer | Reciter
    memory: Column
    """[sum of S, M], ragged."""
    share: Tensor
    """Of the probabilities, a scalar; those of all members sum to one."""
    temperature: Tensor | None = None
    batch: tuple[Tensor, Tensor, Tensor] | None = None
    """While training, the memory as it was made, padded: of which rows it is (the very tensor of a `Writing`), [B, S, M], and
    which of it is there, bool [B, S]. To part it and pad it again takes time, forwards and backwards."""

    def batch_of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The memory of those rows [B, S, M], and which of it is there, bool [B, S]."""
        if self.batch is not None and self.batch[0] is rows:
            return self.batch[1:]
        found = self.memory.gather(rows)
        return found.values, found.mask()


@dataclass(frozen=True)
class Notes:
    """What was found, by row of the memory; shared by all that are parts of the same."""

    texts: dict[int, list[Hypothesis]] = field(default_factory=dict)
    """What a beam ended with. `score` is the sum to be divided by the length: of the log-probability and CTC's."""
    losses: dict[tuple[int, tuple[int, ...]], float] = field(default_factory=dict)


@dataclass(frozen=True)
class Writing:
    """Texts of N rows, which are those at `rows` of the members' memories."""

    members: tuple[Member, ...]
    rows: Tensor
    """int64 [N]"""
    limits: Tensor
    """int64, a row of the memory: how many units a text may have."""
    width: int = 1
    """Hypotheses of the beam; 1 is greedy."""
    exponent: float = 1.0
    """Of the length by which log-probabilities are divided."""
    ctc: float = 0.0
    """Weight of what CTC gives a finished text."""
    certainty: tuple[float, float] | None = None
    """Slope and intercept of the confidence: see `text.searching`. None until it is settled."""
    glimpsed: frozenset[int] | None = None
    """Rows of the memory that are written, where not all are."""
    notes: Notes = field(default_factory=Notes)

    def __len__(self) -> int:
        return len(self.rows)

    def nbests(self) -> list[list[Hypothesis]]:
        """Of each row what the beam ended with, best first; nothing where it is not written."""
        rows = self.rows.tolist()
        wanted = [row for row in dict.fromkeys(rows) if self.glimpsed is None or row in self.glimpsed]
        due = [row for row in wanted if row not in self.notes.texts]
        if due:
            _search(self, due)
        return [sorted(self.notes.texts.get(row, []), key=self._rank) for row in rows]

    def _rank(self, found: Hypothesis) -> float:
        return -normalised(found.score, found.ids, self.exponent)

    def losses(self, targets: Tensor) -> Tensor:
        """[N]: minus the log-probability of each row's target and its end, remembered; without a gradient."""
        rows = self.rows.tolist()
        keys = [(row, tuple(unit for unit in own if unit >= 0)) for row, own in zip(rows, targets.tolist(), strict=True)]
        due = [place for place, key in enumerate(keys) if key not in self.notes.losses]
        with torch.no_grad():
            for part in _alike(self, [rows[place] for place in due]):
                index = torch.tensor([due[place] for place in part], device=self.rows.device)
                found = forced(replace(self, rows=self.rows[index]), targets[index]).tolist()
                self.notes.losses.update(zip([keys[due[place]] for place in part], found, strict=True))
        return torch.tensor([self.notes.losses[key] for key in keys], device=targets.device)


def forced(writing: Writing, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """[N]: minus the log-probability of each row's target units (int64 [N, L], padded with -1) and of its end. With smoothing
    that share of each unit's probability is spread over all units (Szegedy 2016)."""
    log_probs, wanted = _followed(writing, targets)
    found = -_of(log_probs, wanted)
    if smoothing:
        found = (1 - smoothing) * found - smoothing * log_probs.mean(2)
    return found.masked_fill(wanted < 0, 0.0).sum(1)


@torch.no_grad()
def of_each_unit(writing: Writing, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probability of each unit of the rows' targets and of their ends, and where there is one (bool), [N, 1 + L]."""
    found = targets.new_zeros(len(targets), targets.shape[1] + 1, dtype=torch.float32)
    there = torch.zeros_like(found, dtype=torch.bool)
    for part in _alike(writing, writing.rows.tolist()):
        index = torch.tensor(part, device=targets.device)
        log_probs, wanted = _followed(replace(writing, rows=writing.rows[index]), targets[index])
        found[index, : wanted.shape[1]] = _of(log_probs, wanted).masked_fill(wanted < 0, 0.0)
        there[index, : wanted.shape[1]] = wanted >= 0
    return found, there


def _followed(writing: Writing, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities [N, L, V] after each of the units of the rows' targets, and the units that do follow [N, L], the end
    among them; -1 behind it."""
    counts = (targets >= 0).sum(1)
    units = F.pad(targets[:, : max(int(counts.max()), 0)], (0, 1), value=-1)
    last = torch.arange(units.shape[1], device=units.device)[None] == counts[:, None]
    wanted = torch.where(last, EDGE, units)
    given = F.pad(units.clamp(min=0)[:, :-1], (1, 0), value=EDGE)
    each = []
    for member in writing.members:
        logits = member.writer(*member.batch_of(writing.rows), given)
        each.append((logits if member.temperature is None else logits / member.temperature).log_softmax(-1))
    return mixed(each, [member.share.log() for member in writing.members]), wanted


def _of(log_probs: Tensor, wanted: Tensor) -> Tensor:
    return log_probs.gather(2, wanted.clamp(min=0)[:, :, None])[:, :, 0]


def _alike(writing: Writing, rows: Sequence[int]) -> Iterator[list[int]]:
    """Places of those rows of the memory, a few at once, of about the same length."""
    offsets = writing.members[0].memory.offsets
    assert offsets is not None
    lengths = offsets.diff().tolist()
    order = sorted(range(len(rows)), key=lambda place: lengths[rows[place]])
    yield from (order[start : start + AT_ONCE] for start in range(0, len(order), AT_ONCE))


@torch.no_grad()
def _search(writing: Writing, rows: Sequence[int]) -> None:
    """Writes rows of the memory, and notes what was found."""
    for part in _alike(writing, rows):
        own = [rows[place] for place in part]
        index = torch.tensor(own, device=writing.rows.device)
        begun, frames = [], []
        for member in writing.members:
            memory = member.memory.gather(index)
            start = member.writer.begin(memory.values, memory.mask())
            begun.append(replace(start, temperature=member.temperature))
            if writing.ctc and member.writer.frames is not None:
                assert memory.lengths is not None
                read = Frames(member.writer.read(memory.values), memory.lengths, writing.ctc, EDGE)
                frames.append((float(member.share), read))
        stepper = Together(begun, [member.share.log() for member in writing.members])
        every, limit = torch.arange(len(own), device=index.device), writing.limits[index]
        if writing.width == 1:
            found = [[one._replace(score=one.log_prob)] for one in greedy(stepper, every, EDGE, EDGE, limit)]
        else:
            best = max(frames, key=lambda one: one[0])[1] if frames else None
            found = beam(stepper, every, EDGE, EDGE, limit, writing.width, 0.0, best)
        writing.notes.texts.update(zip(own, found, strict=True))


class Writings(Outputs):
    """A `Writing` of N rows."""

    words = "texts"

    def rows(self, outputs: Writing) -> int:
        return len(outputs)

    def gather(self, outputs: Writing, index: Tensor) -> Writing:
        return replace(outputs, rows=outputs.rows[index.to(outputs.rows.device)])

    def join(self, parts: Sequence[Writing]) -> Writing:
        """Of batches that the same networks are to write."""
        if len(parts) == 1:
            return parts[0]
        whole = [_whole(part) for part in parts]
        first = whole[0]
        for other in whole[1:]:
            for one, two in zip(first.members, other.members, strict=True):
                alike = one.writer is two.writer or _same(one.writer.state_dict(), two.writer.state_dict())
                assert alike, "the parts were made by different networks"
        members = [
            replace(own, memory=Column.concatenate([part.members[place].memory for part in whole]))
            for place, own in enumerate(first.members)
        ]
        notes, glimpsed, start = Notes(), set[int](), 0
        for part in whole:
            notes.texts.update({start + row: found for row, found in part.notes.texts.items()})
            notes.losses.update({(start + row, ids): loss for (row, ids), loss in part.notes.losses.items()})
            glimpsed.update(start + row for row in part.glimpsed or ())
            start += len(part)
        return replace(
            first,
            members=tuple(members),
            rows=torch.arange(start, device=first.rows.device),
            limits=torch.cat([part.limits for part in whole]),
            glimpsed=frozenset(glimpsed) if first.glimpsed is not None else None,
            notes=notes,
        )

    def mean(self, each: Sequence[Writing], shares: Tensor) -> Writing:
        """All networks, which search together."""
        if len(each) == 1:
            return each[0]
        whole = [_whole(own) for own in each]
        members = [
            replace(member, share=member.share.to(shares.device) * share)
            for own, share in zip(whole, shares, strict=True)
            for member in own.members
        ]
        first = whole[int(shares.argmax())]
        reading = [place for place, own in enumerate(whole) if own.ctc]
        ctc = whole[max(reading, key=lambda place: float(shares[place]))].ctc if reading else 0.0
        limits = torch.stack([own.limits for own in whole]).amax(0)
        width = max(own.width for own in whole)
        sure = {own.certainty for own in whole}  # where all are settled alike, it is by what they write together
        certainty = first.certainty if len(sure) == 1 else None
        found = replace(first, members=tuple(members), limits=limits, width=width, ctc=ctc, certainty=certainty)
        return replace(found, glimpsed=None, notes=Notes())

    def plain(self, outputs: Writing) -> Writing:
        """With copies of the networks, since their weights will change."""
        members = [
            replace(
                own,
                writer=_snapshot(own.writer),
                memory=Column(own.memory.values.detach().float(), own.memory.present, own.memory.offsets),
                share=own.share.detach().float().clone(),
                temperature=None if own.temperature is None else own.temperature.detach().float().clone(),
                batch=None,
            )
            for own in outputs.members
        ]
        return replace(outputs, members=tuple(members))

    def to(self, outputs: Writing, device: torch.device) -> Writing:
        if outputs.rows.device == device:
            return outputs
        members = [
            replace(
                own,
                writer=copy.deepcopy(own.writer).to(device),
                memory=own.memory.to(device),
                share=own.share.to(device),
                temperature=None if own.temperature is None else own.temperature.to(device),
            )
            for own in outputs.members
        ]
        return replace(outputs, members=tuple(members), rows=outputs.rows.to(device), limits=outputs.limits.to(device))

    def save(self, outputs: Writing, name: str = OUTPUTS) -> dict[str, Tensor]:
        """The memory in half precision, the networks' weights, and the texts that have been found."""
        own = _whole(outputs)
        search = torch.tensor([own.width, own.exponent, own.ctc, *(own.certainty or ())], dtype=torch.float64)
        saved = {f"{name}.search": search, f"{name}.limits": own.limits}
        if own.glimpsed is not None:
            saved[f"{name}.glimpsed"] = torch.tensor(sorted(own.glimpsed), dtype=torch.int64)
        for place, member in enumerate(own.members):
            assert member.memory.offsets is not None
            saved |= {
                f"{name}.{place}.sizes": member.writer.sizes.tensor(),
                f"{name}.{place}.share": member.share,
                f"{name}.{place}.memory": member.memory.values.half(),
                f"{name}.{place}.offsets": member.memory.offsets,
            }
            saved |= {} if member.temperature is None else {f"{name}.{place}.temperature": member.temperature}
            saved |= {f"{name}.{place}.writer.{key}": value for key, value in member.writer.state_dict().items()}
        flat = [(row, found) for row, nbest in own.notes.texts.items() for found in nbest]
        lengths = torch.tensor([len(found.ids) for _, found in flat], dtype=torch.int64)
        return saved | {
            f"{name}.texts.rows": torch.tensor([row for row, _ in flat], dtype=torch.int64),
            f"{name}.texts.offsets": torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]),
            f"{name}.texts.ids": torch.tensor([unit for _, found in flat for unit in found.ids], dtype=torch.int64),
            f"{name}.texts.scores": torch.tensor([found[1:] for _, found in flat], dtype=torch.float64).reshape(-1, 2),
        }

    def load(self, named: Mapping[str, Tensor], name: str = OUTPUTS) -> Writing:
        members: list[Member] = []
        while (key := f"{name}.{len(members)}") and f"{key}.sizes" in named:
            start = f"{key}.writer."
            weights = {own.removeprefix(start): named[own] for own in named if own.startswith(start)}
            sizes = Sizes.of(named[f"{key}.sizes"])
            writer = _made(sizes, weights) if sizes.layers else Reciter(sizes)
            offsets = named[f"{key}.offsets"]
            memory = Column(named[f"{key}.memory"].float(), torch.ones(len(offsets) - 1, dtype=torch.bool), offsets)
            members.append(Member(writer, memory, named[f"{key}.share"], named.get(f"{key}.temperature")))
        width, exponent, ctc, *certainty = named[f"{name}.search"].tolist()
        limits, glimpsed = named[f"{name}.limits"], named.get(f"{name}.glimpsed")
        notes, ends = Notes(), named[f"{name}.texts.offsets"].tolist()
        ids, scores = named[f"{name}.texts.ids"].tolist(), named[f"{name}.texts.scores"].tolist()
        for place, row in enumerate(named[f"{name}.texts.rows"].tolist()):
            notes.texts.setdefault(row, []).append(Hypothesis(ids[ends[place] : ends[place + 1]], *scores[place]))
        return Writing(
            tuple(members),
            torch.arange(len(limits)),
            limits,
            int(width),
            exponent,
            ctc,
            (certainty[0], certainty[1]) if certainty else None,
            None if glimpsed is None else frozenset(glimpsed.tolist()),
            notes,
        )

    def tempered(self, outputs: Writing, temperature: Tensor) -> Writing:
        members = [
            replace(own, temperature=temperature if own.temperature is None else own.temperature * temperature)
            for own in outputs.members
        ]
        return replace(outputs, members=tuple(members), notes=Notes())

    def glimpse(self, outputs: Writing) -> Writing:
        """Written greedily, and of many rows only some, evenly taken."""
        rows = outputs.rows.tolist()
        step = math.ceil(len(rows) / GLIMPSED)
        return replace(outputs, width=1, ctc=0.0, glimpsed=frozenset(rows[::step] if step else rows), notes=Notes())

    def answered(self, outputs: Writing) -> Writing:
        outputs.nbests()
        return outputs


def _whole(writing: Writing) -> Writing:
    """The same with just its own rows in memory."""
    rows = writing.rows.tolist()
    if rows == list(range(len(writing.limits))):
        return writing
    notes, glimpsed = Notes(), set[int]()
    for place, row in enumerate(rows):
        if row in writing.notes.texts:
            notes.texts[place] = writing.notes.texts[row]
        if row in (writing.glimpsed or ()):
            glimpsed.add(place)
    return replace(
        writing,
        members=tuple(replace(own, memory=own.memory.select(writing.rows)) for own in writing.members),
        rows=torch.arange(len(rows), device=writing.rows.device),
        limits=writing.limits[writing.rows],
        glimpsed=frozenset(glimpsed) if writing.glimpsed is not None else None,
        notes=notes,
    )


def _snapshot(writer: Writer | Reciter) -> Writer | Reciter:
    """A copy whose weights are plain numbers: those in int8 are taken back to float32. The last one, where nothing changed.
    What recites has none, and is as it was."""
    if isinstance(writer, Reciter):
        return writer
    weights = {key: _plain(value) for key, value in writer.state_dict().items()}
    if not (writer.kept and _same(writer.kept[0].state_dict(), weights)):
        writer.kept = (_made(writer.sizes, {key: value.clone() for key, value in weights.items()}),)
    return writer.kept[0]


def _plain(weight: Tensor) -> Tensor:
    own = weight.detach()
    return own.float() if type(own) in (Tensor, nn.Parameter) else own.dequantize().float()


def _made(sizes: Sizes, weights: Mapping[str, Tensor]) -> Writer:
    """A writer that is not to be trained; nothing is drawn at random."""
    with shapes_alone():
        writer = Writer(sizes)
    writer.load_state_dict(dict(weights), assign=True)
    return writer.eval().requires_grad_(False)


def _same(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return all(value.device == two[key].device and torch.equal(value, two[key]) for key, value in one.items())
