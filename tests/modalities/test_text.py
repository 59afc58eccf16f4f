from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from mmcli.errors import ConfigError
from mmcli.modalities.text import Config, Text, _pieces_of

CORPUS = ["the cat sat on the mat", "圣诞树, 庆祝", "naïve café 🎃"] * 3


def fitted(**options: object) -> Text:
    return Text.fit(Config(**options), iter(CORPUS))


def test_nothing_is_out_of_vocabulary() -> None:
    modality = fitted(lowercase=False)
    unseen = ["Ünïcödé 南瓜灯 🦄", "\x01 tab\tnewline\n", "a" * 100]
    assert modality.texts(modality.transform(unseen).column) == unseen


def test_learnt_merges_shorten_what_was_seen() -> None:
    column = fitted().transform(["the cat", "圣诞树"]).column
    assert column.offsets is not None
    assert column.offsets.diff().tolist()[0] <= 3
    assert column.offsets.diff().tolist()[1] < len("圣诞树".encode())


def test_lower_case_and_composition_are_the_same() -> None:
    column = fitted().transform(["CAFÉ", "cafe\u0301"]).column
    one, two = column.gather(torch.tensor([0])).values, column.gather(torch.tensor([1])).values
    assert torch.equal(one, two)


def test_what_is_too_long_is_cut_and_counted() -> None:
    encoded = fitted(max_tokens=3).transform(["the cat sat on the mat", "cat"])
    assert encoded.column.offsets is not None
    assert encoded.column.offsets.diff().tolist()[0] == 3
    assert encoded.remarks == {"cut to 3 tokens": 1}


def test_vocabulary_size_is_kept_to() -> None:
    modality = fitted(vocab_size=265)
    assert modality.describe().vocab_size == 265
    assert len(modality.describe().pieces) == 265
    assert modality.describe().pieces[0] == b""


def test_an_existing_tokenizer_is_used(tmp_path: Path) -> None:
    given = Tokenizer(models.WordPiece({"[UNK]": 0, "cat": 1, "##s": 2, "the": 3}, unk_token="[UNK]"))
    given.pre_tokenizer = pre_tokenizers.Whitespace()
    given.enable_padding(length=9)
    path = tmp_path / "tokenizer.json"
    given.save(str(path))
    modality = Text.fit(Config(tokenizer=str(path)), iter([]))
    column = modality.transform(["the cats"]).column
    assert column.values.tolist() == [3, 1, 2]
    assert modality.texts(column) == [" the cats"]


def test_a_wrong_tokenizer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Text.fit(Config(tokenizer=str(tmp_path / "absent.json")), iter([]))
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"is not a tokenizer\.json"):
        Text.fit(Config(tokenizer=str(tmp_path / "bad.json")), iter([]))


@pytest.mark.parametrize(
    "kind", ["南瓜灯" * 40_000, "👩‍👩‍👧" * 20_000, "a" * 120_000, " " * 120_000, "1" * 120_000, "word " * 24_000]
)
def test_a_cell_without_end_is_learnt_from_in_pieces(kind: str) -> None:
    pieces = list(_pieces_of([kind, "short"], 4096))
    assert "".join(pieces) == kind[:4096] + "short"
    assert max(len(word) for piece in pieces for word in re.findall(r"\w+|[^\w\s]+|\s+", piece)) <= 65
    modality = Text.fit(Config(), iter([kind, "short text"]))
    encoded = modality.transform([kind, "short text", None])
    assert encoded.column.offsets is not None
    assert encoded.column.offsets.tolist()[1] <= 256
    assert modality.texts(encoded.column)[1] == "short text"


def test_short_cells_are_learnt_from_as_they_are() -> None:
    cells = ["the cat sat on the mat", "x" * 64, "圣诞树, 庆祝。" * 20]
    assert list(_pieces_of(cells, 4096)) == cells


def test_of_a_huge_cell_the_first_tokens_are_those_of_the_whole() -> None:
    modality = fitted(max_tokens=5, vocab_size=300)
    cell = "the cat sat on the mat " * 3000
    encoded = modality.transform([cell])
    assert encoded.column.values.tolist() == modality.tokenizer.encode(cell).ids[:5]
    assert encoded.remarks == {"cut to 5 tokens": 1}
    blanks = " " * 400 + "cat"  # more than is looked at first, and few tokens
    one = Text.fit(Config(max_tokens=5, vocab_size=2000), iter([" " * 64] * 9 + CORPUS))
    assert one.transform([blanks]).column.values.tolist() == one.tokenizer.encode(blanks).ids[:5]


def test_the_share_of_words_that_is_asked_is_hidden_and_more_hides_the_same_ones() -> None:
    texts = [" ".join(f"w{row}x{place}" for place in range(row % 4 + 1)) for row in range(30)]
    text = Text.fit(Config(), texts)
    column = text.transform([*texts, None]).column
    total = sum(len(own.split()) for own in texts)
    left = []
    for share in (0.0, 0.15, 0.3, 0.5, 1.0):
        found = text.with_words_hidden(column, share, torch.Generator().manual_seed(3))
        assert (found.words, found.hidden) == (total, round(share * total))
        left.append([word for own in text.texts(found.column) for word in own.split()])
        assert len(left[-1]) == total - found.hidden
        own = [bool(line.strip()) for line in text.texts(found.column)]
        assert found.column.present.tolist() == own  # a cell without a word that is left is absent
    assert left[0] == [word for own in texts for word in own.split()]
    assert set(left[3]) < set(left[2]) < set(left[1])
    again = text.with_words_hidden(column, 0.3, torch.Generator().manual_seed(3)).column
    assert text.texts(again) == text.texts(text.with_words_hidden(column, 0.3, torch.Generator().manual_seed(3)).column)
    other = text.with_words_hidden(column, 0.3, torch.Generator().manual_seed(4)).column
    assert text.texts(again) != text.texts(other)


def test_in_scripts_without_blanks_each_character_is_a_word() -> None:
    texts = ["猫坐在垫子上", "狗跑"]
    text = Text.fit(Config(), texts)
    found = text.with_words_hidden(text.transform(texts).column, 0.5, torch.Generator().manual_seed(0))
    assert (found.words, found.hidden) == (8, 4)
    assert sum(map(len, text.texts(found.column))) == 4
