"""Text in any language: token ids from a byte-level BPE that is learnt on the train split, or from a tokenizer.json.

Byte-level means that nothing is out of vocabulary: Chinese, emoji and misspellings all have tokens.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from pydantic import Field
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.errors import ConfigError
from mmcli.modalities import Encoded, Guess, Modality, Partial, Reject
from mmcli.reporting.counts import counted
from mmcli.signals import Column, SignalSpec
from mmcli.text.units import byte_of_char, without_blanks

SPECIAL_TOKENS = ["[PAD]", "[BOS]", "[EOS]", "[MASK]"]
_CHARS_OF_A_TOKEN = 16
"""Characters of a cell to a token that may be kept: what lies beyond is hardly ever seen, and not learnt from."""
_LONGEST_WORD = 64
_NO_BREAK = re.compile(r"\w{64}(?=\w)|[^\w\s]{64}(?=[^\w\s])|\s{64}(?=\s)")
"""Where a run of letters, signs or blanks is longer than any word: learning costs the square of a word's length."""
_BASELINE_CHARS = 10_000_000
"""Characters of all texts that the linear baseline reads, a microsecond each: of a text at least 2,000, at most 20,000."""


class Config(BaseConfig):
    """How text becomes token ids."""

    vocab_size: int = Field(8000, ge=260)
    """Most tokens that the tokenizer may learn (--vocab-size); 256 of them are the bytes."""
    max_tokens: int = Field(256, ge=1)
    """Tokens kept of a cell (--max-tokens); how many cells were cut is said."""
    lowercase: bool = True
    """Whether upper and lower case are the same."""
    tokenizer: str = ""
    """Path of an existing tokenizer.json to use instead of learning one (--tokenizer)."""
    special_tokens: bool = False
    """Whether the tokenizer's own first and last tokens are put around a text, as pretrained encoders expect."""


class Text(Modality):
    """Text as ids [T]."""

    corruptions: ClassVar[tuple[str, ...]] = ("typos",)
    encoders: ClassVar[tuple[str, ...]] = ("bag", "rnn")
    aligning_encoders: ClassVar[tuple[str, ...]] = ("axes",)
    more_encoders: ClassVar[tuple[tuple[str, int], ...]] = (("transformer", 3000),)
    text_encoders = ("transformer",)

    def __init__(self, config: Config, tokenizer: Tokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer

    @classmethod
    def sniff(cls, cells: Sequence[str], media_root: str) -> Guess:  # noqa: ARG003 - text needs no files
        """What is nothing else is text."""
        length = sum(map(len, cells)) / max(len(cells), 1)
        return Guess(0.5, f"{counted(len(set(cells)), 'different text')}, {length:.0f} characters on average")

    @classmethod
    def fit(cls, config: Config, cells: Iterable[str]) -> Self:
        """Learns a byte-level BPE (Sennrich 2016, Radford 2019), or reads the tokenizer.json given.

        Raises:
            ConfigError: there is no such tokenizer, or it is not one.
        """
        if config.tokenizer:
            return cls(config, _read_tokenizer(Path(config.tokenizer)))
        tokenizer = Tokenizer(models.BPE())
        steps = [normalizers.NFC(), *([normalizers.Lowercase()] if config.lowercase else [])]
        tokenizer.normalizer = normalizers.Sequence(steps)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=config.vocab_size,
            min_frequency=2,
            special_tokens=SPECIAL_TOKENS,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(_pieces_of(cells, config.max_tokens * _CHARS_OF_A_TOKEN), trainer)
        return cls(config, tokenizer)

    def transform(self, cells: Sequence[str | None]) -> Encoded:
        """Ids int32 [sum of lengths] with offsets; what is longer than `max_tokens` is cut and counted."""
        there = [(position, cell) for position, cell in enumerate(cells) if cell is not None]
        half = "it holds half a character (a surrogate without its other half)"
        rejects = [Reject(position, cell, half) for position, cell in there if not _is_whole(cell)]
        gone = {reject.position for reject in rejects}
        found = [(position, cell) for position, cell in there if position not in gone]
        encodings = self._encode([cell for _, cell in found])
        ids: list[int] = []
        lengths = torch.zeros(len(cells), dtype=torch.int64)
        present = torch.zeros(len(cells), dtype=torch.bool)
        remarks: Counter[str] = Counter()
        for (position, _), encoding in zip(found, encodings, strict=True):
            kept = encoding.ids[: self.config.max_tokens]
            if len(kept) < len(encoding.ids):
                if self.config.special_tokens:  # the last one stays
                    kept[-1] = encoding.ids[-1]
                remarks[f"cut to {self.config.max_tokens} tokens"] += 1
            ids += kept
            lengths[position] = len(kept)
            present[position] = True
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
        return Encoded(Column(torch.tensor(ids, dtype=torch.int32), present, offsets), rejects, remarks)

    def _encode(self, cells: Sequence[str]) -> list[Any]:
        """The tokens of each cell, of huge ones no more than can be kept, and some: enough to tell that there are more."""
        limit = 2 * _CHARS_OF_A_TOKEN * self.config.max_tokens
        heads = [cell if len(cell) <= limit else cell[:limit] for cell in cells]
        made = list(self.tokenizer.encode_batch_fast(heads, add_special_tokens=self.config.special_tokens))
        for place, (cell, encoding) in enumerate(zip(cells, made, strict=True)):
            if len(cell) > limit and len(encoding.ids) <= 2 * self.config.max_tokens:  # its tokens are long, or it is blanks
                made[place] = self.tokenizer.encode(cell, add_special_tokens=self.config.special_tokens)
        return made

    def describe(self) -> SignalSpec:
        return SignalSpec(kind="ids", shape=(), vocab_size=len(self._pieces), pieces=self._pieces)

    def texts(self, column: Column) -> list[str]:
        """The stored cells as text again, up to what was cut and normalised."""
        assert column.offsets is not None
        ids, ends = column.values.tolist(), column.offsets.tolist()
        rows = pairwise(ends)
        return [b"".join(self._pieces[i] for i in ids[a:b]).decode("utf-8", "replace") for a, b in rows]

    def corrupt(self, column: Column, how: str, level: float, generator: torch.Generator) -> Column:  # noqa: ARG002
        """typos: at level 1 three in ten characters are left out, doubled, or changed places with the next."""
        if level <= 0:
            return column
        cells = [
            _misspelt(text, 0.3 * level, generator) if here else None
            for text, here in zip(self.texts(column), column.present.tolist(), strict=True)
        ]
        return self.transform(cells).column

    def with_words_hidden(self, column: Column, share: float, generator: torch.Generator) -> Partial:
        """Of all words of the column together that share, to the nearest word, is left out, drawn once: those that a share
        hides a larger one hides too. In scripts without blanks each character is a word. A cell of which no word is left is
        absent."""
        texts = self.texts(column)
        split, between = (_characters, "") if without_blanks(texts) else (str.split, " ")
        words = [split(text) if here else [] for text, here in zip(texts, column.present.tolist(), strict=True)]
        total = sum(map(len, words))
        hidden = round(share * total)
        if not hidden:
            return Partial(column, total, 0)
        gone = torch.zeros(total, dtype=torch.bool)
        gone[torch.randperm(total, generator=generator)[:hidden]] = True
        left, start, cells = (~gone).tolist(), 0, list[str | None]()
        for own in words:
            kept = [word for word, here in zip(own, left[start : start + len(own)], strict=True) if here]
            cells.append(between.join(kept) or None)
            start += len(own)
        return Partial(self.transform(cells).column, total, hidden)

    def state(self) -> dict[str, Any]:
        return {"config": self.config.model_dump(), "tokenizer": json.loads(self.tokenizer.to_str())}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        return cls(Config(**state["config"]), Tokenizer.from_str(json.dumps(state["tokenizer"])))

    def linear_features(self, column: Column, train: Tensor) -> Any:
        """TF-IDF of words and of 1 to 4 characters, sparse."""
        from scipy.sparse import hstack
        from sklearn.feature_extraction.text import TfidfVectorizer

        limit = min(max(_BASELINE_CHARS // max(len(column), 1), 2_000), 20_000)
        texts = [text[:limit] for text in self.texts(column)]
        blocks = []
        for options in ({"analyzer": "char", "ngram_range": (1, 4)}, {"analyzer": "word", "token_pattern": r"\w+"}):
            vectorizer = TfidfVectorizer(sublinear_tf=True, **options)
            try:
                vectorizer.fit([texts[row] for row in train.tolist()])
            except ValueError:  # no train row has a word
                continue
            blocks.append(vectorizer.transform(texts))
        return hstack(blocks).tocsr()

    def disagreements(self, wanted: Mapping[str, Any]) -> list[str]:
        """The tokenizers themselves are compared, not their paths; a shorter limit does no harm."""
        found = []
        if "tokenizer" in wanted and _read_tokenizer(Path(wanted["tokenizer"])).to_str() != self.tokenizer.to_str():
            found.append("it was tokenised otherwise")
        if self.config.special_tokens != wanted.get("special_tokens", self.config.special_tokens):
            found.append("it has no special tokens around the texts")
        if self.config.max_tokens > wanted.get("max_tokens", self.config.max_tokens):
            found.append(f"up to {self.config.max_tokens} tokens are kept, not {wanted['max_tokens']}")
        return found

    @cached_property
    def _pieces(self) -> tuple[bytes, ...]:
        size = self.tokenizer.get_vocab_size()
        special = {i for i, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        pieces = []
        byte_of = byte_of_char() if '"ByteLevel"' in json.dumps(json.loads(self.tokenizer.to_str())["decoder"]) else {}
        for i in range(size):
            token = self.tokenizer.id_to_token(i) or ""
            if i in special:
                pieces.append(b"")
            elif byte_of:
                pieces.append(bytes(byte_of[char] for char in token if char in byte_of))
            elif token.startswith("##"):
                pieces.append(token[2:].encode())
            else:
                pieces.append(f" {token.replace('▁', '')}".encode())
        return tuple(pieces)


def _pieces_of(cells: Iterable[str], limit: int) -> Iterator[str]:
    """The beginnings of cells, cut where a word would never end."""
    for cell in filter(_is_whole, cells):
        head, start = cell[:limit], 0
        if len(head) > _LONGEST_WORD:
            for match in _NO_BREAK.finditer(head):
                yield head[start : match.end()]
                start = match.end()
        yield head[start:]


def _is_whole(cell: str) -> bool:
    """Whether it holds no half of a character, as a JSON may: such texts cannot be written."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise ConfigError(f"--tokenizer {path}: there is no such file", "Give the path of a tokenizer.json.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ConfigError(f"--tokenizer {path} is not a tokenizer.json: {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _characters(text: str) -> list[str]:
    return [char for char in text if not char.isspace()]


def _misspelt(text: str, share: float, generator: torch.Generator) -> str:
    luck = torch.rand(len(text), 2, generator=generator).tolist()
    found, place = [], 0
    while place < len(text):
        char, (chance, kind) = text[place], luck[place]
        if chance >= share:
            found.append(char)
        elif kind >= 2 / 3:
            found.append(char * 2)
        elif kind >= 1 / 3 and place + 1 < len(text):
            found.append(text[place + 1] + char)
            place += 1
        place += 1
    return "".join(found) or text
