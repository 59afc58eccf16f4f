"""What texts are written in: characters, words or pieces, each with a number from 1 (0 is CTC's blank); and what of a text
counts."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Self

from mmcli.errors import DataError

Kind = Literal["auto", "char", "word", "bpe"]
FEW_WORDS = 20_000
"""Train words below which pieces cannot be learnt well."""
CLOSED = 500
"""Different words up to which texts may be written in words."""
OFTEN = 5
"""How often each of them must come on average."""
SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR")
"""Unicode names of scripts that put no blanks between words."""


def normalised(text: str, how: str = "nfkc") -> str:
    """NFKC with single blanks; `case`: without case; `all`: without punctuation besides."""
    text = " ".join(unicodedata.normalize("NFKC", text).split())
    return fold(text) if how == "all" else text.casefold() if how == "case" else text


def fold(text: str) -> str:
    """Without case and punctuation."""
    kept = "".join(char for char in text.casefold() if unicodedata.category(char)[0] not in "PS")
    return " ".join(kept.split())


def without_blanks(texts: Sequence[str], share: float = 0.3) -> bool:
    """Whether more than that share of the letters are of scripts that put no blanks between words."""
    letters = [char for text in texts[:2000] for char in text if char.isalpha()]
    inside = sum(unicodedata.name(char, "").startswith(SCRIPTS) for char in letters)
    return bool(letters) and inside > share * len(letters)


@dataclass(frozen=True)
class Units:
    """Numbers from 1 for what texts are written in."""

    kind: Literal["char", "word", "bpe"]
    names: tuple[str, ...]
    """Characters or words; of pieces none: see `model`."""
    known: int
    """How many of them train has: those behind can be no answer."""
    longest: int = 0
    """Units of the longest text that was seen."""
    model: str = field(default="", repr=False)
    """Of pieces, the tokenizer of Hugging Face as JSON."""

    @classmethod
    def fit(cls, texts: Sequence[str], kind: Kind = "auto", vocab: int = 0) -> Self:
        """Those of the train texts."""
        words = Counter(word for text in texts for word in text.split())
        if kind == "auto":
            if (
                not without_blanks(texts)
                and len(words) <= CLOSED
                and words.total() >= OFTEN * len(words)
                and min(words.values()) > 1
            ):
                kind = "word"
            else:
                kind = "char" if without_blanks(texts) or words.total() < FEW_WORDS else "bpe"
        if kind == "bpe":
            model = _learnt(texts, vocab or min(max(words.total() // 40, 256), 4000))
            made = cls("bpe", (), 0, model=model)
            return made._with_longest(texts)
        names = sorted(words) if kind == "word" else sorted({char for text in texts for char in text})
        return cls("word" if kind == "word" else "char", tuple(names), len(names))._with_longest(texts)

    def with_more(self, texts: Sequence[str]) -> Self:
        """With the units that these texts have besides."""
        if self.kind == "bpe":
            return self._with_longest(texts)
        have = set(self.names)
        more = sorted({unit for text in texts for unit in self._split(text)} - have)
        return type(self)(self.kind, (*self.names, *more), self.known, self.longest)._with_longest(texts)

    def _with_longest(self, texts: Sequence[str]) -> Self:
        longest = max([self.longest, *(len(self.ids(text)) for text in texts)])
        return type(self)(self.kind, self.names, self.known, longest, self.model)

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size()) if self.kind == "bpe" else len(self.names)

    @property
    def described(self) -> str:
        """In words."""
        beyond = len(self) - self.known
        more = f" (and {beyond} that train never has)" if self.kind != "bpe" and beyond else ""
        count = len(self) if self.kind == "bpe" else self.known
        return f"{count} {({'char': 'characters', 'word': 'words', 'bpe': 'pieces'})[self.kind]}{more}"

    def ids(self, text: str) -> list[int]:
        """The text's units.

        Raises:
            DataError: it has one that is not known.
        """
        if self.kind == "bpe":
            return [number + 1 for number in self._tokenizer.encode(text).ids]
        parts = self._split(text)
        unknown = next((unit for unit in parts if unit not in self._number), None)
        if unknown is not None:
            what = "word" if self.kind == "word" else "character"
            raise DataError(
                f"the {what} {unknown!r} of the text {text[:60]!r} is in no row that the model was made from",
                "Preprocess the table with such rows, or leave them out.",
            )
        return [self._number[unit] for unit in parts]

    def ids_with(self, text: str, other: int) -> list[int]:
        """The same, each unit that is not known being `other`."""
        if self.kind == "bpe":
            return self.ids(text)
        return [self._number.get(unit, other) for unit in self._split(text)]

    def known_ids(self, text: str) -> list[int]:
        """The text's units, without those that are not known."""
        return self.ids(text) if self.kind == "bpe" else [self._number[u] for u in self._split(text) if u in self._number]

    def text(self, ids: Sequence[int]) -> str:
        """The reverse of `ids`."""
        if self.kind == "bpe":
            return str(self._tokenizer.decode([number - 1 for number in ids])).strip()
        return (" " if self.kind == "word" else "").join(self.names[number - 1] for number in ids).strip()

    def table(self) -> dict[str, Any]:
        """For programs that know no tokenizers: `kind`, and in `units` each unit's characters, from number 1 on; of pieces its
        bytes, as characters of Latin-1."""
        if self.kind != "bpe":
            return {"kind": self.kind, "units": list(self.names)}
        of = byte_of_char()
        tokens = [self._tokenizer.id_to_token(number) or "" for number in range(len(self))]
        return {"kind": self.kind, "units": [bytes(of[char] for char in own).decode("latin-1") for own in tokens]}

    def _split(self, text: str) -> list[str]:
        return text.split() if self.kind == "word" else list(text)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {name: place + 1 for place, name in enumerate(self.names)}

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.model)

    def state(self) -> dict[str, Any]:
        """As plain JSON."""
        own = {"kind": self.kind, "names": list(self.names), "known": self.known, "longest": self.longest}
        return {**own, "model": json.loads(self.model) if self.model else None}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The reverse of `state`."""
        model = json.dumps(state["model"]) if state["model"] else ""
        return cls(state["kind"], tuple(state["names"]), state["known"], state["longest"], model)


def _learnt(texts: Sequence[str], vocab: int) -> str:
    """Byte-level BPE (Sennrich 2016, over bytes) of so many pieces at most: it can write any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max(vocab, 256), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def byte_of_char() -> dict[str, int]:
    """Byte-level BPE writes each byte as a printable character (GPT-2): the way back."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(hidden)}
