"""An n-gram language model over units, with modified, interpolated Kneser-Ney smoothing (Chen and Goodman 1998)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mmcli.text import Cost, Hypothesis
from mmcli.text.prefixes import Floats, Ints, LanguageModel

MOST_ORDER = 8
MOST_CACHED = 1 << 23
"""Numbers that the cache of next units holds at most: 64 MiB."""
WEIGHTS = tuple(twentieth / 20 for twentieth in range(25))


@dataclass
class Level:
    """The n-grams of one order: contexts of n - 1 units, and what followed each.

    A context is its parent, itself less its oldest unit, and that unit: `keys` [N], ascending, are parent * (V + 1) + unit,
    where V is the start of a text. The followers of context i lie from `offsets[i]` to `offsets[i + 1]`, ascending.
    """

    keys: Ints
    offsets: Ints
    followers: Ints
    counts: Ints
    shares: npt.NDArray[np.float64] = field(init=False)
    """What each follower has of its context's probability, beside its part of the rest."""
    rests: npt.NDArray[np.float64] = field(init=False)
    """What each context leaves to the order below."""

    def __post_init__(self) -> None:
        discounts = _discounts(self.counts)[np.minimum(self.counts, 3)]
        context = np.repeat(np.arange(len(self.keys)), np.diff(self.offsets))
        total = np.bincount(context, self.counts, len(self.keys))
        taken = np.bincount(context, discounts, len(self.keys))
        self.shares = (self.counts - discounts) / total[context]
        self.rests = np.where(total > 0, taken / np.maximum(total, 1), 1.0)


class NGram:
    """Probabilities of the next of V units after a text's beginning, `eos` among them: all above zero, their sum one."""

    def __init__(self, vocab: int, eos: int, levels: list[Level]) -> None:
        self.vocab, self.eos, self.levels = vocab, eos, levels
        self._cache: OrderedDict[tuple[int, int], Floats] = OrderedDict()

    @classmethod
    def fit(cls, sequences: Sequence[Sequence[int]], order: int, vocab: int, eos: int) -> NGram:
        """Counts texts of units below `vocab`, without start or end. Texts shorter than `order` lower it."""
        if not 1 <= order <= MOST_ORDER:
            raise ValueError(f"an order from 1 to {MOST_ORDER}, not {order}")
        if not 0 <= eos < vocab or any(not 0 <= unit < vocab for ids in sequences for unit in ids):
            raise ValueError(f"units are from 0 to {vocab - 1}")
        return cls(vocab, eos, _counted(sequences, order, vocab, eos))

    def score(self, prefix: tuple[int, ...], following: int) -> float:
        """The log-probability of one unit after a text's beginning."""
        probability = 1 / self.vocab
        for level, context in zip(self.levels, self._contexts(prefix), strict=False):
            start, end = level.offsets[context : context + 2]
            place = start + np.searchsorted(level.followers[start:end], following)
            share = level.shares[place] if place < end and level.followers[place] == following else 0.0
            probability = float(share + level.rests[context] * probability)
        return float(np.log(probability))

    def next_log_probs(self, prefix: tuple[int, ...], /) -> Floats:
        """The log-probabilities of all units [V] after a text's beginning: kept, not to be written to."""
        contexts = self._contexts(prefix)
        key = (len(contexts), contexts[-1])
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        probabilities = np.full(self.vocab, 1 / self.vocab)
        for level, context in zip(self.levels, contexts, strict=False):
            own = slice(*level.offsets[context : context + 2])
            probabilities *= level.rests[context]
            probabilities[level.followers[own]] += level.shares[own]
        found: Floats = np.log(probabilities)
        found.setflags(write=False)
        self._cache[key] = found
        if len(self._cache) * self.vocab > MOST_CACHED and len(self._cache) > 1:
            self._cache.popitem(last=False)
        return found

    def _contexts(self, prefix: tuple[int, ...]) -> list[int]:
        """The context that each order knows, from none to the longest."""
        found, contexts = 0, [0]
        for back, level in enumerate(self.levels[1 : len(prefix) + 2], 1):
            key = found * (self.vocab + 1) + (prefix[-back] if back <= len(prefix) else self.vocab)
            found = int(level.keys.searchsorted(key))
            if found == len(level.keys) or level.keys[found] != key:
                break
            contexts.append(found)
        return contexts

    def log_prob(self, ids: Sequence[int]) -> float:
        """Of a whole text and its end."""
        return text_log_prob(self, ids)

    def perplexity(self, sequences: Sequence[Sequence[int]]) -> float:
        """Of texts, a step, their ends counted."""
        return float(np.exp(-sum(map(self.log_prob, sequences)) / sum(len(ids) + 1 for ids in sequences)))

    def state(self) -> dict[str, npt.NDArray[np.int64]]:
        """Everything, as plain arrays."""
        arrays = {"sizes": np.array([self.vocab, self.eos, len(self.levels)], np.int64)}
        for number, level in enumerate(self.levels):
            for name in ("keys", "offsets", "followers", "counts"):
                arrays[f"{name}.{number}"] = getattr(level, name)
        return arrays

    @classmethod
    def from_state(cls, state: Mapping[str, npt.NDArray[np.int64]]) -> NGram:
        vocab, eos, levels = state["sizes"].tolist()
        names = ("keys", "offsets", "followers", "counts")
        return cls(vocab, eos, [Level(*(state[f"{name}.{number}"] for name in names)) for number in range(levels)])


def _counted(sequences: Sequence[Sequence[int]], order: int, vocab: int, eos: int) -> list[Level]:
    """Lower orders count what a unit follows, not how often: the distinct n-grams that lie one unit further back. Those at the
    start of a text, which have none, and those of the highest order are counted as they are."""
    stream = np.concatenate([np.array([vocab, *ids, eos], np.int64) for ids in sequences] or [np.zeros(0, np.int64)])
    depths = np.concatenate([np.arange(len(ids) + 2) for ids in sequences] or [np.zeros(0, np.int64)])
    at = np.nonzero(depths)[0]
    context = np.zeros(len(at), np.int64)
    keys = np.zeros(1, np.int64)
    found: list[tuple[Ints, Ints, Ints]] = []  # of each order: keys, distinct context * V + follower, their counts
    for length in range(order):
        if length:
            deep = depths[at] >= length
            at, context = at[deep], context[deep]
            keys, context = np.unique(context * (vocab + 1) + stream[at - length], return_inverse=True)
        if length and not len(at):
            break
        found.append((keys, *np.unique(context * vocab + stream[at], return_counts=True)))
    levels = []
    for number, (keys, grams, counts) in enumerate(found):
        if number + 1 < len(found):
            above, longer, _ = found[number + 1]
            shorter, lefts = np.unique(above[longer // vocab] // (vocab + 1) * vocab + longer % vocab, return_counts=True)
            counts = counts.copy()
            counts[np.searchsorted(grams, shorter)] = lefts
        offsets = np.searchsorted(grams // vocab, np.arange(len(keys) + 1))
        levels.append(Level(keys, offsets.astype(np.int64), grams % vocab, counts.astype(np.int64)))
    return levels


def _discounts(counts: Ints) -> npt.NDArray[np.float64]:
    """What is taken off counts of 0, 1, 2 and 3 or more: by how many n-grams have 1 to 4, or fixed where these do not say,
    or say that nothing is."""
    one, two, three, four = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].tolist()
    if min(one, two, three, four) > 0:
        share = one / (one + 2 * two)
        found = np.array([0.0, 1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three])
        if (found[1:] > 0).all():
            return found
    return np.array([0.0, 0.5, 1.0, 1.5])


def text_log_prob(lm: LanguageModel, ids: Sequence[int]) -> float:
    """What a language model gives a whole text and its end."""
    steps = enumerate([*ids, lm.eos])
    return float(sum(lm.next_log_probs(tuple(ids[:place]))[unit] for place, unit in steps))


def tune_weight(
    nbests: Sequence[Sequence[Hypothesis]],
    references: Sequence[Any],
    lm: LanguageModel,
    cost: Cost,
    weights: Sequence[float] = WEIGHTS,
    bonuses: Sequence[float] = (0.0,),
    strangers: Sequence[float] = (0.0,),
    strange: Callable[[Sequence[int]], int] = lambda ids: 0,  # noqa: ARG005 - where no word is strange
) -> tuple[float, float, float]:
    """The language model's weight, the bonus a unit, and what it takes off for each of the `strange` words of a text, by which
    n-best lists cost least; of equal ones the smallest.

    The lists are searched without a language model, or with one: it is their `log_prob` that is added to."""
    facts = []  # of each row [H, 4]
    for nbest in nbests:
        own = [(one.log_prob, text_log_prob(lm, one.ids), len(one.ids), -strange(one.ids)) for one in nbest]
        facts.append(np.array(own, np.float64))

    def of(said: tuple[float, float, float]) -> tuple[float, float, float, float]:
        weight, bonus, stranger = said
        shares = np.array([1.0, weight, bonus, weight * stranger])
        texts = [nbest[int(np.argmax(own @ shares))].ids for nbest, own in zip(nbests, facts, strict=True)]
        return cost(texts, references), weight, abs(bonus), stranger

    tried = [(weight, bonus, own) for weight in weights for bonus in bonuses for own in (strangers if weight else (0.0,))]
    return min(tried, key=of)
