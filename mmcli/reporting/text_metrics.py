"""Metrics of written answers: word and character error rates, BLEU, chrF and exact matches, and where two texts differ.

Each is a function of sums over rows, so `sums` counts every row once and a bootstrap over rows weighs these counts, as with the
metrics of other tasks. Values are those of sacreBLEU (BLEU, chrF2) and of jiwer (error rates) with their defaults.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Literal, TypeAlias

import numpy as np

from mmcli.reporting.metrics import Array, Metric

Tokenizer = Literal["13a", "zh", "char"]
"""How BLEU parts a text into tokens, by sacreBLEU's names."""
Operation = Literal["equal", "substitute", "insert", "delete"]
Step = tuple[Operation, str | None, str | None]
"""(operation, the written unit, the right unit): "insert" is written but not right, "delete" right but not written."""
_Units: TypeAlias = str | tuple[str, ...]

WORD_ORDER, CHAR_ORDER, BETA = 4, 6, 2
"""The longest n-grams of BLEU and of chrF; how many times more chrF makes of recall than of precision."""

SHORT = 128
"""Units of a right text whose n-grams are kept: those of longer ones take too much memory."""
# The columns of `sums`.
WORD_EDITS = slice(0, 1)
WORDS = slice(1, 2)
CHAR_EDITS = slice(2, 3)
CHARS = slice(3, 4)
EXACT = slice(4, 5)
BLEU_MATCHES = slice(5, 9)
BLEU_WRITTEN = slice(9, 13)
WRITTEN_LENGTH = slice(13, 14)
RIGHT_LENGTH = slice(14, 15)
CHRF_WRITTEN = slice(15, 21)
CHRF_RIGHT = slice(21, 27)
CHRF_MATCHES = slice(27, 33)
COLUMNS = 33


def sums(written: Sequence[str], right: Sequence[str], tokenizer: Tokenizer) -> Array:
    """What the metrics need of each of N rows: float64 [N, COLUMNS], by the columns named above.

    Words are parted by blanks and characters are those of the stripped text, its inner blanks among them; BLEU's tokens are
    the tokenizer's and chrF's characters all but blanks.
    """
    split = _TOKENIZERS[tokenizer]
    counted = [_row(one, other, split) for one, other in zip(written, right, strict=True)]
    return np.array(counted, dtype=np.float64).reshape(len(counted), COLUMNS)


@lru_cache(maxsize=1 << 14)
def _row(written: str, right: str, split: Callable[[str], list[str]]) -> tuple[int, ...]:
    """The counts of one row, in the order of the columns. The same answers are scored and compared again and again."""
    words, right_words = written.split(), right.split()
    line, right_line = written.strip(), right.strip()
    tokens, right_tokens = tuple(split(written)), tuple(split(right))
    letters, right_letters = "".join(words), "".join(right_words)
    wanted = _grams_of(len(right_letters), CHAR_ORDER)
    # As sacreBLEU has it, n-grams longer than the whole right text are not counted as written ones either.
    had = [count if goal else 0 for count, goal in zip(_grams_of(len(letters), CHAR_ORDER), wanted, strict=True)]
    return (
        edits(words, right_words),
        len(right_words),
        edits(line, right_line),
        len(right_line),
        int(line == right_line),
        *_grams_in_common(tokens, right_tokens, WORD_ORDER),
        *_grams_of(len(tokens), WORD_ORDER),
        len(tokens),
        len(right_tokens),
        *had,
        *wanted,
        *_grams_in_common(letters, right_letters, CHAR_ORDER),
    )


def _grams_of(length: int, longest: int) -> list[int]:
    """How many n-grams of each order from 1 to `longest` so many units make."""
    return [max(length - less, 0) for less in range(longest)]


def _grams_in_common(one: _Units, other: _Units, longest: int) -> list[int]:
    """How many n-grams of each order from 1 to `longest` both have, each as often as both do."""
    common = []
    known = _known_grams if len(other) <= SHORT else _grams_up_to
    for order, theirs in enumerate(known(other, longest), 1):
        mine = _grams(one, order)
        common.append(sum(min(count, theirs[gram]) for gram, count in mine.items() if gram in theirs))
    return common


def _grams_up_to(units: _Units, longest: int) -> tuple[Counter[_Units], ...]:
    return tuple(_grams(units, order) for order in range(1, longest + 1))


_known_grams = lru_cache(maxsize=1 << 11)(_grams_up_to)
"""Of right texts, which are held against what is written of them in every epoch."""


def _grams(units: _Units, order: int) -> Counter[_Units]:
    return Counter([units[start : start + order] for start in range(len(units) - order + 1)])


def edits(written: Sequence[str], right: Sequence[str]) -> int:
    """The fewest insertions, deletions and substitutions of units that turn one into the other (Levenshtein 1966).

    A column of the table of distances is two integers of bits, where it rises and where it falls (Myers 1999, in Hyyrö's
    form of 2003), so a column costs a few operations however long the text.
    """
    if not right:
        return len(written)
    full, last = (1 << len(right)) - 1, 1 << (len(right) - 1)
    places: dict[str, int] = {}
    for place, unit in enumerate(right):
        places[unit] = places.get(unit, 0) | 1 << place
    rises, falls, distance = full, 0, len(right)
    for unit in written:
        same = places.get(unit, 0)
        level = (((same & rises) + rises) ^ rises) | same | falls
        more = falls | (full & ~(level | rises))
        fewer = rises & level
        distance += bool(more & last) - bool(fewer & last)
        more, fewer = more << 1 | 1, fewer << 1
        rises, falls = full & (fewer | ~(level | more)), full & more & level
    return distance


def worst(written: Sequence[str], right: Sequence[str], most: int) -> list[int]:
    """The rows that are the most wrong, by their share of wrong characters; none that are right."""
    wrong = [edits(one, other) / max(len(other), 1) for one, other in zip(written, right, strict=True)]
    return [row for row in sorted(range(len(wrong)), key=lambda row: -wrong[row])[:most] if wrong[row] > 0]


def wer(rows: Array, _targets: Array, weights: Array) -> Array:
    """Edits of words as a share of the right words; more than 1 where more is wrong than there is."""
    return _rate(_weighed(rows, WORD_EDITS, weights), _weighed(rows, WORDS, weights))


def cer(rows: Array, _targets: Array, weights: Array) -> Array:
    """Edits of characters as a share of the right characters."""
    return _rate(_weighed(rows, CHAR_EDITS, weights), _weighed(rows, CHARS, weights))


def exact(rows: Array, _targets: Array, weights: Array) -> Array:
    """Share of rows whose text is the right one, but for blanks around it."""
    result: Array = _weighed(rows, EXACT, weights)[:, 0] / weights.sum(1)
    return result


def bleu(rows: Array, _targets: Array, weights: Array) -> Array:
    """BLEU of the corpus in points (Papineni 2002): the geometric mean of how much of the written n-grams of 1 to 4 tokens is
    right, less where the whole is too short. The first order without a match counts as half a match, the next as a quarter
    (Chen and Cherry 2014, method 3); without any match, or with no row of 4 tokens, it is 0."""
    matches, possible = _weighed(rows, BLEU_MATCHES, weights), _weighed(rows, BLEU_WRITTEN, weights)
    length, goal = _weighed(rows, WRITTEN_LENGTH, weights)[:, 0], _weighed(rows, RIGHT_LENGTH, weights)[:, 0]
    smoothed = np.where(matches > 0, matches, 0.5 ** np.cumsum(matches == 0, axis=1))
    defined = (matches > 0).any(1) & (possible > 0).all(1)
    precision = smoothed / np.where(possible > 0, possible, 1.0)
    brevity = np.minimum(0.0, 1 - goal / np.where(length > 0, length, 1.0))
    return np.where(defined, 100 * np.exp(brevity + np.log(precision).mean(1)), 0.0)


def chrf(rows: Array, _targets: Array, weights: Array) -> Array:
    """chrF2 of the corpus in points (Popović 2015, 2017): F of precision and recall, recall counting twice, each averaged over
    the n-grams of 1 to 6 characters that both sides have any of; 0 where they have none."""
    written, right = _weighed(rows, CHRF_WRITTEN, weights), _weighed(rows, CHRF_RIGHT, weights)
    matches = _weighed(rows, CHRF_MATCHES, weights)
    both = (written > 0) & (right > 0)
    orders = np.maximum(both.sum(1), 1)
    precision = np.divide(matches, written, out=np.zeros_like(matches), where=both).sum(1) / orders
    recall = np.divide(matches, right, out=np.zeros_like(matches), where=both).sum(1) / orders
    below = BETA**2 * precision + recall
    return np.where(below > 0, 100 * (1 + BETA**2) * precision * recall / np.where(below > 0, below, 1.0), 0.0)


TEXT: dict[str, tuple[Metric, bool]] = {
    "wer": (wer, False),
    "cer": (cer, False),
    "bleu": (bleu, True),
    "chrf": (chrf, True),
    "exact": (exact, True),
}
"""Name -> (metric, whether higher is better). Predicted are the `sums` of the rows [N, COLUMNS]; targets are not looked at."""


def _weighed(rows: Array, columns: slice, weights: Array) -> Array:
    """The weighted sums of some columns: [R, how many]."""
    result: Array = weights @ rows[:, columns]
    return result


def _rate(wrong: Array, of: Array) -> Array:
    """[R]: shares of [R, 1] each; where nothing is right, the number of edits, as jiwer has it."""
    result: Array = (wrong / np.where(of > 0, of, 1.0))[:, 0]
    return result


def tokens(text: str, tokenizer: Tokenizer) -> list[str]:
    """A text's tokens as BLEU counts them."""
    return _TOKENIZERS[tokenizer](text)


_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_MARKS = re.compile(r"([!-&(-+/:-@\[-`{-~])")
"""All of ASCII's punctuation but ' , - and the full stop."""
_STOP_AFTER_OTHER, _STOP_BEFORE_OTHER = re.compile(r"([^0-9])([.,])"), re.compile(r"([.,])([^0-9])")
_DASH_AFTER_DIGIT = re.compile(r"([0-9])-")
_CHINESE = re.compile(
    "([\u2001-\u2a6d\u2e80-\u2fdf\u2ff0-\u303f\u3100-\u312f\u31a0-\u31ef\u3200-\u4db5\u4e00-\u9fbb"
    "\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\ufe10-\ufe1f\ufe30-\ufe4f\uff00-\uffef])"
)
"""What sacreBLEU's zh sets apart: Han, Chinese punctuation, full-width letters. That U+2001 to U+2A6D (dashes, curly quotes,
arrows) are among these and the Han beyond U+FFFF are not is how it reads its own table; the same here, to be comparable."""


def _split_western(text: str) -> list[str]:
    """Marks stand alone; so do full stops and commas unless between digits, and dashes after a digit."""
    text = _MARKS.sub(r" \1 ", text)
    text = _STOP_AFTER_OTHER.sub(r"\1 \2 ", text)
    text = _STOP_BEFORE_OTHER.sub(r" \1 \2", text)
    return _DASH_AFTER_DIGIT.sub(r"\1 - ", text).split()


def _split_13a(text: str) -> list[str]:
    """By the rules of NIST's mteval-v13a: words broken at a line's end are joined, entities written out."""
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for entity, character in _ENTITIES:
        text = text.replace(entity, character)
    return _split_western(f" {text} ")


def _split_zh(text: str) -> list[str]:
    """Each Chinese character alone, the rest by the western rules."""
    return _split_western(_CHINESE.sub(r" \1 ", text.strip()))


def _split_char(text: str) -> list[str]:
    """Each character that is no blank."""
    return list("".join(text.split()))


_TOKENIZERS: dict[str, Callable[[str], list[str]]] = {"13a": _split_13a, "zh": _split_zh, "char": _split_char}

_HAN = re.compile("[\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_WITHOUT_BLANKS = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aad\u3040-\u30ff\u31f0-\u31ff\ua9e0-\ua9ff\uaa60-\uaa7f"
    "\uff66-\uff9f]"
)
"""Kana, and Thai, Lao, Tibetan, Burmese, Khmer and Tai letters: scripts that put no blanks between words."""


def tokenizer_for(texts: Iterable[str]) -> Tokenizer:
    """The tokenizer that suits the script of these texts: `char` where more than 30% of the letters are kana or of Thai and
    other scripts without blanks, else `zh` where more than 30% are Han, else `13a`. Japanese has both and so is `char`."""
    letters = "".join(filter(str.isalpha, "".join(texts)))
    if len(_WITHOUT_BLANKS.findall(letters)) > 0.3 * len(letters):
        return "char"
    return "zh" if len(_HAN.findall(letters)) > 0.3 * len(letters) else "13a"


def signature(tokenizer: Tokenizer) -> str:
    """How BLEU and chrF were counted, as sacreBLEU writes it."""
    return f"BLEU|nrefs:1|case:mixed|eff:no|tok:{tokenizer}|smooth:exp chrF2|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no"


def units(text: str, tokenizer: Tokenizer) -> list[str]:
    """What differences are shown by: words where blanks part them (`13a`), else the characters of the stripped text."""
    return text.split() if tokenizer == "13a" else list(text.strip())


def alignment(written: Sequence[str], right: Sequence[str]) -> list[Step]:
    """The fewest steps from the right units to the written ones, in the order of the text; the steps that are not "equal" are
    as many as `edits`. Of ways as short, one that keeps the most units. Memory grows as the product of the lengths."""
    gap = min(len(written), len(right)) + 1  # so all substitutions together weigh no more than an edit
    table = _distances(written, right, gap)
    steps: list[Step] = []
    row, column = len(right), len(written)
    while row or column:
        here = table[row, column]
        if row and column and written[column - 1] == right[row - 1]:
            row, column = row - 1, column - 1
            steps.append(("equal", written[column], right[row]))
        elif row and column and table[row - 1, column - 1] + gap + 1 == here:
            row, column = row - 1, column - 1
            steps.append(("substitute", written[column], right[row]))
        elif row and table[row - 1, column] + gap == here:
            row -= 1
            steps.append(("delete", None, right[row]))
        else:
            column -= 1
            steps.append(("insert", written[column], None))
    return steps[::-1]


def _distances(written: Sequence[str], right: Sequence[str], gap: int) -> Array:
    """int32 [right + 1, written + 1]: the edits between every two beginnings, a row at a time (Wagner and Fischer 1974). An
    insertion or a deletion costs `gap`, a substitution 1 more, which decides between ways of as many edits."""
    codes = {unit: code for code, unit in enumerate(dict.fromkeys([*written, *right]))}
    line = np.array([codes[unit] for unit in written], dtype=np.int32)
    inserted = np.arange(len(written) + 1, dtype=np.int32) * np.int32(gap)
    table = np.empty((len(right) + 1, len(written) + 1), dtype=np.int32)
    table[0] = inserted
    for row, unit in enumerate(right):
        before, after = table[row], table[row + 1]
        after[0] = before[0] + gap
        after[1:] = np.minimum(before[1:] + gap, before[:-1] + (gap + 1) * (line != codes[unit]))
        after[:] = np.minimum.accumulate(after - inserted) + inserted
    return table


def pieces(steps: Iterable[Step], between: str) -> list[Step]:
    """The steps with neighbours of the same operation as one, their units parted by `between`: for people to read."""
    found: list[Step] = []
    for operation, group in groupby(steps, key=lambda step: step[0]):
        own = list(group)
        written, right = [one for _, one, _ in own if one is not None], [one for _, _, one in own if one is not None]
        found.append((operation, between.join(written) or None, between.join(right) or None))
    return found


def substitutions(pairs: Iterable[tuple[Sequence[str], Sequence[str]]], top: int = 10) -> list[tuple[str, str, int]]:
    """The most frequent substitutions over rows of (written units, right units): (written, right, how often), the first met
    first among equals."""
    found: Counter[tuple[str, str]] = Counter()
    for written, right in pairs:
        for _, one, other in alignment(written, right):
            if one is not None and other is not None and one != other:
                found[one, other] += 1
    return [(one, other, count) for (one, other), count in found.most_common(top)]
