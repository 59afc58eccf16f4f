"""Which language texts are in, what words it has, and what these are worth: lists of wordfreq (Speer 2022).

A few thousand words of train are not all that people say. By how many of them came just once it is known how many words of
further texts will be new (Good 1953). How far a list is to be trusted beside n-grams, train texts say that the n-grams have not
seen.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from mmcli.errors import ConfigError
from mmcli.text import likely
from mmcli.text.lexicon import parts
from mmcli.text.likely import Likely
from mmcli.text.ngram import text_log_prob
from mmcli.text.units import Units, without_blanks

AUTO, NONE = "auto", "none"
MOST = 300_000
"""Words of a language, the most frequent ones."""
NEW = 0.02
"""Share of new words in further texts from which on a list is looked for."""
USUAL = 0.5
"""Share of the train texts' words that are usual ones of a language, for it to be theirs."""
RARE = 1e-9
"""How often a word is used that is not among the usual ones."""
SHARES = (0.2, 0.4, 0.6, 0.8)
TRIED_ON = 100
"""Train texts, at most, by which shares are chosen; a fifth of all."""
GAIN = 0.01
"""Of a letter's log-probability: less is nothing."""


class Words(NamedTuple):
    """The words of a language, for the search."""

    code: str
    """That of the language (BCP 47)."""
    often: Mapping[str, float]
    """How often each is used: of all use of words."""
    share: float
    """Of the mixture with n-grams."""
    new: float | None = None
    """Share of words of further texts that train's are expected not to have; None where the language was named."""

    @property
    def told(self) -> str:
        """In a few words."""
        found = f"a search by CTC knows {len(self.often):,} words of {self.code!r} (wordfreq)"
        new = "" if self.new is None else f", since {self.new:.0%} of further words will be new to train (--lm-words none)"
        return f"{found}{new}"

    def state(self) -> dict[str, Any]:
        """As plain JSON: words that are used as often stand together."""
        groups: dict[float, list[str]] = {}
        for word, own in self.often.items():
            groups.setdefault(own, []).append(word)
        told = {"code": self.code, "share": self.share, "new": self.new}
        return {**told, "often": [[own, " ".join(words)] for own, words in groups.items()]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Words:
        """The reverse of `state`."""
        often = {word: float(own) for own, words in state["often"] for word in words.split(" ")}
        return cls(state["code"], often, state["share"], state["new"])


class Background(NamedTuple):
    """What is known of a target's texts whatever is heard: what their language model is made of."""

    grams: Mapping[str, list[int]]
    """As `likely.fit` gives them."""
    words: Sequence[str] = ()
    """Those of the texts."""
    language: Words | None = None
    """Those of the whole language."""

    @classmethod
    def of(cls, texts: Sequence[str], more: Sequence[str], units: Units, said: str) -> Self:
        """That of train texts and of more; with words of a language as `found` has them."""
        return cls(likely.fit(texts, more, units), likely.words([*texts, *more], units), found(texts, more, units, said))

    def likely(self, units: Units) -> Likely:
        """The language model, of those units."""
        language = (self.language.often, self.language.share) if self.language else ()
        return Likely.of(self.grams, units, self.words, *language)

    def state(self) -> dict[str, Any]:
        """As plain JSON."""
        more = {"language": self.language.state()} if self.language else {}
        return {"grams": dict(self.grams), "lexicon": list(self.words), **more}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The reverse of `state`."""
        language = Words.from_state(state["language"]) if "language" in state else None
        return cls(state["grams"], state.get("lexicon", ()), language)


def found(texts: Sequence[str], more: Sequence[str], units: Units, said: str = AUTO) -> Words | None:
    """Those that make train texts likelier which n-grams of the others, and of `more`, have not seen; None where there are
    none, or none that do so.

    Raises:
        ConfigError: the language that was `said` has no list, or the target is not written letter by letter.
    """
    if said == NONE:
        return None
    if units.kind != "char" or without_blanks(texts):
        if said == AUTO:
            return None
        raise ConfigError(f"--lm-words {said}: the target is not written letter by letter, with blanks", "Leave it out.")
    words = counted(texts)
    new = sum(count == 1 for count in words.values()) / max(words.total(), 1)
    code = said if said != AUTO else language_of(words) if new >= NEW else ""
    often = words_of(code) if code else {}
    if not often:
        return None
    share, helps = _share(texts, more, units, often)
    if said == code:
        return Words(code, often, share)
    return Words(code, often, share, new) if helps else None


def _share(texts: Sequence[str], more: Sequence[str], units: Units, often: Mapping[str, float]) -> tuple[float, bool]:
    """That of the words by which unseen texts are likeliest, and whether they are likelier so than without words."""
    held = set(range(0, len(texts), max(5, -(-len(texts) // TRIED_ON))))
    grams = likely.fit([text for row, text in enumerate(texts) if row not in held], more, units)
    unseen = [units.ids(texts[row]) for row in held]

    model = Likely.of(grams, units, (), often)
    lexicon = model.lexicon
    assert lexicon is not None

    def given(share: float) -> float:
        lexicon.share = share
        return sum(text_log_prob(model, ids) for ids in unseen)

    plain, (best, most) = given(0.0), max(((share, given(share)) for share in SHARES), key=lambda own: own[1])
    return best, most > plain * (1 - GAIN)


def counted(texts: Sequence[str]) -> Counter[str]:
    """How often each word comes."""
    return Counter(word for text in texts for word in parts(text))


def languages() -> list[str]:
    """Codes of the languages that there are lists of."""
    from wordfreq import available_languages

    return sorted(available_languages("small"))


def language_of(words: Counter[str]) -> str:
    """The code of the language in which these words are the likeliest, of those whose usual words half of them are; empty where
    there is none."""
    from wordfreq import get_frequency_dict

    best, most = "", -math.inf
    for code in languages():
        often = get_frequency_dict(code, "small")
        usual = sum(count for word, count in words.items() if word in often)
        given = sum(count * math.log(often.get(word, RARE)) for word, count in words.items())
        if usual and usual >= USUAL * words.total() and given > most:
            best, most = code, given
    return best


def words_of(code: str) -> dict[str, float]:
    """The most frequent words of a language, and how often each is used.

    Raises:
        ConfigError: there is no list of it.
    """
    if code not in languages():
        raise ConfigError(f"--lm-words {code!r}: there is no list of that language", f"There are: {', '.join(languages())}.")
    from wordfreq import get_frequency_dict

    often: dict[str, float] = {}
    for word, own in get_frequency_dict(code, "best").items():
        if word.isalpha() or parts(word) == [word]:  # the lists have no capitals
            often[word] = own
        if len(often) == MOST:
            break
    return often
