from __future__ import annotations

import math
from itertools import pairwise

import torch

from mmcli.encoders.bag import Bag, Config, hash_ngrams
from mmcli.modalities.text import Config as TextConfig
from mmcli.modalities.text import Text
from mmcli.signals import Column, Signal, SignalSpec

BUCKETS = 1 << 30


def grams(texts: list[str], chars: int, words: int) -> list[list[int]]:
    values, offsets = hash_ngrams(texts, chars, words, BUCKETS)
    return [values[a:b].tolist() for a, b in pairwise(offsets)]


def test_counts_of_characters_and_words() -> None:
    (row,) = grams(["ab cd"], 2, 2)
    # 5 characters, 4 pairs, the words ab and cd, the pair "ab cd"
    assert len(row) == 5 + 4 + 2 + 1
    assert len(set(row)) == len(row)


def test_equal_ngrams_have_equal_hashes_wherever_they_stand() -> None:
    first, second = grams(["xx 南瓜", "a 南瓜 b 南瓜"], 3, 1)
    assert set(grams(["南瓜"], 3, 1)[0]) <= set(first) & set(second)
    assert grams(["abc"], 3, 0) == grams(["abc"], 3, 0)
    assert set(grams(["abc"], 1, 0)[0]) == set(grams(["cba"], 1, 0)[0])
    assert grams(["abc"], 3, 0)[0][-1] != grams(["cba"], 3, 0)[0][-1]


def test_words_are_runs_of_letters_and_digits_of_any_script_within_a_row() -> None:
    one, two, three = grams(["万圣节, 南瓜", "南瓜", "kürbis 2"], 0, 1)
    assert len(one) == 2
    assert two[0] in one
    assert len(three) == 2
    # a word does not run on into the next row
    assert grams(["ab", "cd"], 0, 2) == [grams(["ab"], 0, 2)[0], grams(["cd"], 0, 2)[0]]


def test_a_word_and_the_same_characters_are_different_features() -> None:
    (row,) = grams(["ab"], 2, 1)
    assert len(set(row)) == 4


def test_empty_texts() -> None:
    assert grams(["", "a", ""], 2, 1) == [[], grams(["a"], 2, 1)[0], []]
    assert grams([], 2, 1) == []
    assert grams(["", ""], 2, 1) == [[], []]


def test_the_text_is_spelt_out_of_tokens_without_loss() -> None:
    texts = ["Jack-o’-lantern 🎃", "圣诞树, 庆祝"]
    modality = Text.fit(TextConfig(), iter(texts))
    bag = Bag(Config(buckets=1 << 20), modality.describe())
    prepared = bag.prepare(modality.transform(texts).column)
    expected, _ = hash_ngrams([text.lower() for text in texts], 4, 2, 1 << 20)
    assert prepared.values.tolist() == expected.tolist()


def test_runs_of_characters_fall_into_the_lower_half_and_words_into_the_upper() -> None:
    values, _ = hash_ngrams(["ab cd"], 2, 2, 1000)
    assert sorted(value >= 500 for value in values.tolist()) == [False] * 9 + [True] * 3


def test_pooled_is_the_tf_idf_weighted_sum_with_characters_and_words_of_a_length_each() -> None:
    bag = Bag(Config(buckets=16, dim=3), SignalSpec(kind="ids", shape=(), vocab_size=4, pieces=(b"",) * 4)).eval()
    # three train rows with buckets {1, 2, 10}, {1}, {1, 5, 5}: df(1) = 3, df(2) = df(5) = df(10) = 1
    column = Column(
        torch.tensor([1, 2, 10, 1, 1, 5, 5], dtype=torch.int32), torch.ones(3, dtype=torch.bool), torch.tensor([0, 3, 4, 7])
    )
    bag.fit(column)
    common, rare = math.log(4 / 4) + 1, math.log(4 / 2) + 1
    assert bag.idf[[1, 2, 5, 10, 9]].tolist() == torch.tensor([common, rare, rare, rare, 0.0]).tolist()
    signal = Signal(torch.tensor([[1, 2, 9, 10]]), torch.tensor([True]), torch.tensor([4]))  # 9 was never seen: no weight
    norm = math.hypot(common, rare)
    expected = (common * bag.table[1] + rare * bag.table[2]) / norm + 0.7 * bag.table[10]
    torch.testing.assert_close(bag(signal).pooled[0], expected)
