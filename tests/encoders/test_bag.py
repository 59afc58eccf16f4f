from __future__ import annotations

import copy
import math
from itertools import pairwise

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from mmcli.encoders.bag import Bag, Config
from mmcli.exports.ngrams import count_ngrams, hash_ngrams
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
    expected, _ = count_ngrams([text.lower() for text in texts], 4, 2, 1 << 20)
    assert prepared.values.tolist() == expected.tolist()


def test_runs_of_characters_fall_into_the_lower_half_and_words_into_the_upper() -> None:
    values, _ = hash_ngrams(["ab cd"], 2, 2, 1000)
    assert sorted(value >= 500 for value in values.tolist()) == [False] * 9 + [True] * 3


def test_each_ngram_of_a_row_stands_there_once_with_its_count() -> None:
    values, offsets = count_ngrams(["aab", "", "ba"], 1, 0, 1000)
    (a,), (b,) = grams_of("a", 1000), grams_of("b", 1000)
    assert offsets.tolist() == [0, 2, 2, 4]
    assert sorted(values[:2].tolist()) == sorted([a + 1000, b])
    assert sorted(values[2:].tolist()) == sorted([a, b])
    assert count_ngrams(["a" * 1000], 1, 0, 1000)[0].tolist() == [a + 1000 * 254]


def grams_of(text: str, buckets: int) -> list[int]:
    found: list[int] = hash_ngrams([text], 1, 0, buckets)[0].tolist()
    return found


def test_pooled_is_the_tf_idf_weighted_sum_with_characters_and_words_of_a_length_each() -> None:
    bag = Bag(Config(buckets=16, dim=3), SignalSpec(kind="ids", shape=(), vocab_size=4, pieces=(b"",) * 4)).eval()
    # three train rows with buckets {1, 2, 10}, {1}, {1, 5 twice}: df(1) = 3, df(2) = df(5) = df(10) = 1
    column = Column(
        torch.tensor([1, 2, 10, 1, 1, 5 + 16], dtype=torch.int32), torch.ones(3, dtype=torch.bool), torch.tensor([0, 3, 4, 6])
    )
    bag.fit(column)
    common, rare = math.log(4 / 4) + 1, math.log(4 / 2) + 1
    assert bag.idf[[1, 2, 5, 10, 9]].tolist() == torch.tensor([common, rare, rare, rare, 0.0]).tolist()
    # 1 stands there three times; 9 was never seen: no weight
    signal = Signal(torch.tensor([[1 + 2 * 16, 2, 9, 10]]), torch.tensor([True]), torch.tensor([4]))
    common *= 1 + math.log(3)
    norm = math.hypot(common, rare)
    expected = (common * bag.table[1] + rare * bag.table[2]) / norm + 0.7 * bag.table[10]
    torch.testing.assert_close(bag(signal).pooled[0], expected)


def test_what_it_knows_beforehand_is_what_it_reads() -> None:
    texts = ["Jack-o’-lantern, lantern lantern 🎃", "圣诞树, 庆祝, 圣诞节", "a lantern", "庆祝"]
    modality = Text.fit(TextConfig(), iter(texts))
    torch.manual_seed(0)
    bag = Bag(Config(buckets=1 << 12, dim=5), modality.describe()).eval()
    prepared = bag.prepare(modality.transform(texts).column)
    bag.fit(prepared.select(torch.tensor([0, 1])))
    pooled = bag(prepared.gather(torch.arange(4))).pooled
    known = bag.sparse(prepared) @ bag.table.detach().numpy()
    torch.testing.assert_close(torch.from_numpy(known), pooled.detach())


def test_its_characters_are_those_of_scikit_learn() -> None:
    """Word for word but for blanks, which scikit-learn squeezes: the same TF-IDF, in other columns."""
    texts = ["round round apple", "square window apple", "苹果 球球", "ball 球"]
    vectors = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True).fit_transform(texts).toarray()
    modality = Text.fit(TextConfig(), iter(texts))
    bag = Bag(Config(buckets=1 << 22, dim=1, word_ngrams=0), modality.describe())
    prepared = bag.prepare(modality.transform(texts).column)
    bag.fit(prepared)
    own = bag.sparse(prepared)
    # Columns have other names; what rows have in common does not depend on them.
    np.testing.assert_allclose((own @ own.T).toarray(), vectors @ vectors.T, atol=1e-5)


def test_it_is_as_wide_as_there_are_classes() -> None:
    assert Bag.suited(Config(), 3).dim == 64
    assert Bag.suited(Config(), 100).dim == 100
    assert Bag.suited(Config(), 5000).dim == 256


def steps(bag: Bag, signal: Signal, narrow: bool) -> list[float]:
    """Losses of ten steps; where it is narrow, of n-grams that weigh something alone."""
    if narrow:
        bag.lay_aside()
        assert bag.table.shape == (4, 2)
    optimizer = torch.optim.SGD(bag.parameters(), lr=0.5, weight_decay=0.1)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = (bag(signal).pooled - 1.0).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if narrow:
        bag.take_back()
    return losses


def test_a_narrow_bag_learns_the_same_and_leaves_what_no_train_row_has() -> None:
    config = Config(dim=2, buckets=16, ngram_dropout=0, dropout=0)
    bag = Bag(config, SignalSpec(kind="ids", shape=(), vocab_size=4))
    train = Column(torch.tensor([3, 5, 3, 9], dtype=torch.int32), torch.tensor([True, True]), torch.tensor([0, 2, 4]))
    bag.fit(train)
    whole, before = copy.deepcopy(bag), bag.table.detach().clone()
    # bucket 7 is of no train row: it weighs nothing in either
    rows = Signal(torch.tensor([[3, 5, 7], [3, 9, 9]], dtype=torch.int32), torch.ones(2).bool(), torch.tensor([3, 2]))
    assert steps(bag, rows, narrow=True) == steps(whole, rows, narrow=False)
    assert bag.place is None
    assert bag.state_dict().keys() == whole.state_dict().keys()
    used = torch.tensor([3, 5, 9])
    assert torch.equal(bag.table[used], whole.table[used])
    assert not torch.equal(bag.table[used], before[used])
    others = torch.tensor([b for b in range(16) if b not in {3, 5, 9}])
    assert torch.equal(bag.table[others], before[others])  # decay does not reach what trains nothing
    assert torch.equal(bag.idf, whole.idf)


def test_a_bag_whose_rows_are_all_in_use_stays_as_wide() -> None:
    bag = Bag(Config(dim=2, buckets=16), SignalSpec(kind="ids", shape=(), vocab_size=4))
    bag.lay_aside()
    assert bag.table.shape == (16, 2)
    kept = Bag(Config(dim=2, buckets=16, rows=3), SignalSpec(kind="ids", shape=(), vocab_size=4))
    kept.lay_aside()
    assert kept.table.shape == (4, 2)
    kept.take_back()
    assert kept.place is not None
