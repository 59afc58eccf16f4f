"""Texts of CTC frames by a beam over prefixes, in numpy: what it holds, frame by frame, is each prefix once, summed over its
alignments. Needs no torch: it goes with exported models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mmcli.text import Hypothesis

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]


class LanguageModel(Protocol):
    """What `prefix_beam` may be told of likely texts. `eos` is the id by which a text ends; it may be the blank's."""

    @property
    def eos(self) -> int: ...

    def next_log_probs(self, prefix: tuple[int, ...], /) -> Floats:
        """Of each unit [V], or more, as the next one."""


def prefix_beam(
    log_probs_BTV: Floats,
    lengths: Sequence[int],
    beam: int = 8,
    lm: LanguageModel | None = None,
    lm_weight: float = 0.0,
    length_bonus: float = 0.0,
    *,
    blank: int = 0,
    prune: float = -10.0,
    most_symbols: int = 64,
) -> list[list[Hypothesis]]:
    """Row by row the best texts of the beam, each summed over its alignments (Hannun 2014), prefixes that meet as one.

    `log_prob` is what the frames give, less what fell off a narrow beam. `score`, which prunes and ranks, adds `lm_weight`
    times what the language model gives the text and its end, and `length_bonus` a unit. Units below `prune` at a frame, or
    beyond the `most_symbols` likeliest, start nothing there.
    """
    ends = np.asarray(lengths, np.int64)
    order = np.argsort(-ends, kind="stable")
    ends = ends[order]
    steps, units = int(ends.max(initial=0)), log_probs_BTV.shape[2]
    symbols = np.zeros((len(ends), steps, min(most_symbols, units)), np.int64)
    values = np.full(symbols.shape, -np.inf, log_probs_BTV.dtype)
    for place, row in enumerate(order.tolist()):
        own = slice(0, int(ends[place]))
        symbols[place, own], values[place, own] = _likeliest(log_probs_BTV[row, own], symbols.shape[2], blank)
    frames, counts = log_probs_BTV[order], (values > prune).sum(2)
    search = Prefixes(len(ends), beam, blank, lm if lm_weight else None, lm_weight, length_bonus)
    for step in range(steps):
        rows = int((ends > step).sum())
        most = int(counts[:rows, step].max())
        allowed = np.arange(most) < counts[:rows, step, None]
        told = np.where(allowed, values[:rows, step, :most], -np.inf)
        search.advance(frames[:rows, step], symbols[:rows, step, :most], told)
    return [search.hypotheses(row) for row in np.argsort(order, kind="stable").tolist()]


def _likeliest(frames_TV: Floats, count: int, blank: int) -> tuple[Ints, Floats]:
    """The `count` likeliest units of each frame beside the blank, [T, count] each: their ids and log-probabilities, the
    likeliest first."""
    beside = frames_TV.copy()
    beside[:, blank] = -np.inf
    some = np.argpartition(-beside, count - 1, 1)[:, :count] if count < beside.shape[1] else None
    kept = beside if some is None else np.take_along_axis(beside, some, 1)
    order = np.argsort(-kept, 1, kind="stable")
    symbols = order if some is None else np.take_along_axis(some, order, 1)
    return symbols, np.take_along_axis(kept, order, 1)


class Prefixes:
    """The prefixes of R rows, K a row, on a tree of all that were ever held: node r < R is the empty prefix of row r."""

    def __init__(
        self, rows: int, beam: int, blank: int, lm: LanguageModel | None, lm_weight: float, length_bonus: float
    ) -> None:
        self.blank, self.lm, self.lm_weight, self.length_bonus = blank, lm, lm_weight, length_bonus
        self.above, self.symbols = [-1] * rows, [-1] * rows
        self.below: dict[tuple[int, int], int] = {}
        self.node = np.full((rows, beam), -3)
        self.parent, self.last = np.full((rows, beam), -2), np.full((rows, beam), -1)
        self.node[:, 0], self.parent[:, 0] = np.arange(rows), -1
        self.by_blank = np.full((rows, beam), -np.inf)  # of the alignments that end in a blank
        self.by_unit = self.by_blank.copy()  # of those that end in the prefix's last unit
        self.by_blank[:, 0] = 0.0
        self.extra = np.zeros((rows, beam))  # of the language model and the length
        self.texts: dict[int, tuple[int, ...]] = dict.fromkeys(range(rows), ())
        self.ahead = {node: lm.next_log_probs(()) for node in range(rows)} if lm else {}

    def advance(self, frame_RV: Floats, symbols_RC: Ints, values_RC: Floats) -> None:
        """One frame further in the first R rows: each prefix stays as it is, or grows by one of C units."""
        rows, symbols = len(frame_RV), symbols_RC.shape[1]
        by_blank, by_unit, last, extra = (a[:rows] for a in (self.by_blank, self.by_unit, self.last, self.extra))
        total = np.logaddexp(by_blank, by_unit)
        at_last = np.where(last < 0, -np.inf, np.take_along_axis(frame_RV, last.clip(0), 1))
        stays_blank = total + frame_RV[:, self.blank, None]
        stays_unit = by_unit + at_last
        repeats = symbols_RC[:, None] == last[:, :, None]
        grows = np.where(repeats, by_blank[:, :, None], total[:, :, None]) + values_RC[:, None]

        # A prefix that grows into one that is held gives it what it has, and is no candidate of its own.
        row, child, held = np.nonzero(self.parent[:rows, :, None] == self.node[:rows, None])
        unit = last[row, child]
        given = np.where(unit == last[row, held], by_blank[row, held], total[row, held]) + at_last[row, child]
        stays_unit[row, child] = np.logaddexp(stays_unit[row, child], given)
        pair, place = np.nonzero(symbols_RC[row] == unit[:, None])
        grows[row[pair], held[pair], place] = -np.inf

        stays = np.logaddexp(stays_blank, stays_unit) + extra
        gains = self._gains(symbols_RC)
        ranked = np.concatenate([stays, (grows + extra[:, :, None] + gains).reshape(rows, -1)], 1)
        beam = last.shape[1]
        chosen = np.argsort(-ranked, axis=1, kind="stable")[:, :beam]
        at, grown = np.arange(rows)[:, None], chosen >= beam
        origin, place = np.where(grown, (chosen - beam) // max(symbols, 1), chosen), (chosen - beam) % max(symbols, 1)
        self.by_blank[:rows] = np.where(grown, -np.inf, stays_blank[at, origin])
        self.by_unit[:rows] = stays_unit[at, origin]
        self.extra[:rows] = extra[at, origin]
        if symbols:
            self.by_unit[:rows] = np.where(grown, grows[at, origin, place], self.by_unit[:rows])
            self.extra[:rows] += np.where(grown, gains[at, origin, place], 0.0)
        self._hold(origin, grown, symbols_RC[at, place] if symbols else place, ranked[at, chosen] == -np.inf)

    def _gains(self, symbols_RC: Ints) -> Floats:
        """What each prefix's growing by each unit adds beside the frame's own: [R, K, C]."""
        rows, beam = len(symbols_RC), self.node.shape[1]
        gains = np.full((rows, beam, symbols_RC.shape[1]), self.length_bonus)
        if self.lm:
            for row, nodes in enumerate(self.node[:rows].tolist()):
                for place, node in enumerate(nodes):
                    if node >= 0:
                        gains[row, place] += self.lm_weight * self.ahead[node][symbols_RC[row]]
        return gains

    def _hold(self, origin: Ints, grown: npt.NDArray[np.bool_], unit: Ints, dead: npt.NDArray[np.bool_]) -> None:
        rows = len(origin)
        for held in (self.node, self.parent, self.last):
            held[:rows] = np.take_along_axis(held[:rows], origin, 1)
        for row, place in zip(*(found.tolist() for found in np.nonzero(grown & ~dead)), strict=True):
            above, symbol = int(self.node[row, place]), int(unit[row, place])
            node = self.below.setdefault((above, symbol), len(self.above))
            if node == len(self.above):
                self.above.append(above)
                self.symbols.append(symbol)
            self.node[row, place], self.parent[row, place], self.last[row, place] = node, above, symbol
        for held, nothing in ((self.node, -3), (self.parent, -2), (self.last, -1), (self.extra, 0)):
            held[:rows][dead] = nothing
        for scores in (self.by_blank, self.by_unit):
            scores[:rows][dead] = -np.inf
        if self.lm:
            live = [node for node in self.node.ravel().tolist() if node >= 0]
            texts, ahead = self.texts, self.ahead
            self.texts = {
                node: texts[node] if node in texts else (*texts[self.above[node]], self.symbols[node]) for node in live
            }
            self.ahead = {
                node: ahead[node] if node in ahead else self.lm.next_log_probs(text) for node, text in self.texts.items()
            }

    def _ids(self, node: int) -> list[int]:
        ids = []
        while self.above[node] >= 0:
            ids.append(self.symbols[node])
            node = self.above[node]
        return ids[::-1]

    def hypotheses(self, row: int) -> list[Hypothesis]:
        found = []
        for place, node in enumerate(self.node[row].tolist()):
            if node >= 0:
                log_prob = float(np.logaddexp(self.by_blank[row, place], self.by_unit[row, place]))
                ends = self.lm_weight * float(self.ahead[node][self.lm.eos]) if self.lm else 0.0
                found.append(Hypothesis(self._ids(node), log_prob, log_prob + float(self.extra[row, place]) + ends))
        return sorted(found, key=lambda hypothesis: -hypothesis.score)
