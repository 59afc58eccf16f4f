"""Searching for the text that a model would write: ids and their scores. Knows nothing of tasks, heads or the disk.

Texts are lists of unit ids. `ctc` searches, aligns and scores frames; `beam` searches with a network that writes unit by
unit; `ngram` is a language model over units. Each search gives n-best lists of hypotheses, best first; what weighs them is
chosen on val from such lists, by a cost of the whole: lower is better. `prefixes`, `viterbi`, `ngram`, `likely`, `units` and
`words` need no torch: they are copied beside exported models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Hypothesis(NamedTuple):
    """A text that might be meant."""

    ids: list[int]
    """Its units, without a start or an end."""
    log_prob: float
    """What the model gives it, by itself."""
    score: float
    """What it is ranked by: with its length, a language model, a second opinion."""


Cost = Callable[[list[list[int]], Sequence[Any]], float]
"""What is minimised on val, from the texts chosen for all rows and their references: an error rate, say."""

__all__ = ["Cost", "Hypothesis"]
