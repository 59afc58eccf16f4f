"""What a linear model reads of each kind of signal, by values; and a bag whose table has rows for some n-grams alone."""

from __future__ import annotations

import math

import numpy as np
import torch

from mmcli.encoders.bag import Bag
from mmcli.encoders.bag import Config as BagConfig
from mmcli.encoders.plain import Config, Plain
from mmcli.modalities.audio import Audio
from mmcli.modalities.text import Config as TextConfig
from mmcli.modalities.text import Text
from mmcli.signals import Column, Field, SignalSpec

HERE = torch.ones(3, dtype=torch.bool)


def observed(spec: SignalSpec, column: Column) -> torch.Tensor:
    """As it is read, neither centred nor scaled."""
    encoder = Plain(Config(dim=2), spec)
    encoder.scale.fill_(1.0)
    return encoder.observe(column.gather(torch.arange(len(column))))


def test_of_a_form_numbers_what_is_missing_and_an_indicator_of_every_id() -> None:
    spec = SignalSpec(kind="fields", shape=(2,), fields=(Field("a"), Field("b", 3)))
    column = Column(torch.tensor([[0.5, 2.0], [float("nan"), 0.0], [-1.0, float("nan")]]), HERE)
    wanted = [[0.5, 0, 0, 0, 1, 0], [0, 1, 1, 0, 0, 0], [-1, 0, 0, 0, 0, 1]]
    torch.testing.assert_close(observed(spec, column), torch.tensor(wanted))


def test_of_a_form_numbers_that_are_skewed_are_there_on_a_log_scale_too() -> None:
    spec = SignalSpec(kind="fields", shape=(3,), fields=(Field("even"), Field("skewed"), Field("c", 2)))
    skewed = torch.tensor([0.0, 1, 2, 4, 8, 16, 32, 64, 128]) / 10 - 1
    rows = torch.stack([torch.arange(9.0) - 4, skewed, torch.arange(9.0) % 2], 1)
    column = Column(rows, torch.ones(9, dtype=torch.bool))
    encoder = Plain(Config(dim=2, logs=True), spec)
    encoder.fit(column)
    assert encoder.unit is not None and encoder.least is not None
    torch.testing.assert_close(encoder.unit, torch.tensor([0, 1.2, 0]))  # between 0.8 and 1.6 above the least
    assert float(encoder.least[1]) == -1
    x = encoder.observe(column.gather(torch.arange(9)))
    assert x.shape == (9, 3 + 3 + 3)
    assert abs(float(x.square().sum(1).mean()) - 5 / 8) < 1e-5  # two are never missing, no id; of the even one's log no trace
    assert not x[:, 1].any()
    again = Plain(Config(dim=2, logs=True), spec)
    again.load_state_dict(encoder.state_dict())
    new = Column(torch.tensor([[0.0, 4.0, 1.0], [0.0, -7.0, 1.0], [0.0, float("nan"), 1.0]]), HERE)
    again.mean.zero_()
    again.scale.fill_(1.0)
    found = again.observe(new.gather(torch.arange(3)))
    wanted = [
        [4.0, math.log(1 + 5 / 1.2), 0],
        [-7, 0, 0],
        [0, math.log(1 + 1 / 1.2), 1],
    ]  # below all train rows: as the least; missing: as 0
    torch.testing.assert_close(found[:, 3:6], torch.tensor(wanted))
    assert {"least", "unit"} & set(Plain(Config(dim=2), spec).state_dict()) == set()  # as older ones are


def test_of_a_spectrogram_each_band_over_a_row_s_own_frames() -> None:
    frames = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [7.0]])
    column = Column(frames, HERE[:2], torch.tensor([0, 5, 7]))
    found = observed(SignalSpec(kind="spectrogram", shape=(1,)), column)
    # Five frames in four quarters of one and a quarter each: 1 and a fifth of 2, and so on.
    five = [3, 2**0.5, 1.2, (2 * 0.75 + 3 * 0.5) / 1.25, (3 * 0.5 + 4 * 0.75) / 1.25, 4.8]
    torch.testing.assert_close(found[0], torch.tensor(five))
    torch.testing.assert_close(found[1], torch.tensor([6.5, 0.5, 6.0, 6.0, 7.0, 7.0]))
    same = Audio.linear_features(Audio.__new__(Audio), column, torch.arange(2))
    torch.testing.assert_close(found, torch.from_numpy(same), atol=1e-5, rtol=1e-5)


def test_rows_that_are_there_are_of_about_length_one_and_what_never_varies_says_nothing() -> None:
    values = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 50, 0.01, 3, 0]) + 7
    present = torch.arange(200) > 20
    column = Column(values * present[:, None], present)
    encoder = Plain(Config(dim=3), SignalSpec(kind="vector", shape=(5,)))
    encoder.fit(column)
    x = encoder.observe(column.gather(present.nonzero()[:, 0]))
    torch.testing.assert_close(x.mean(0), torch.zeros(5), atol=1e-5, rtol=0)
    assert abs(float(x.square().sum(1).mean()) - 4 / 5) < 1e-4
    other = Column(torch.full((1, 5), 100.0), HERE[:1])
    assert float(encoder.observe(other.gather(torch.tensor([0])))[0, 4]) == 0.0


def test_of_a_picture_small_pixels() -> None:
    picture = torch.arange(32.0)[None, None, :, None].expand(1, 3, 32, 32)
    found = observed(SignalSpec(kind="grid", shape=(3, 32, 32)), Column(picture, HERE[:1])).reshape(3, 16, 16)
    torch.testing.assert_close(found[0, :, 0], torch.arange(16) * 2 + 0.5)


def test_a_bag_of_kept_buckets_says_what_one_of_all_says_and_no_other_ngram_weighs_anything() -> None:
    texts = ["red cat", "blue dog", "red dog dog", "zzz qqq"]
    modality = Text.fit(TextConfig(), texts)
    column = modality.transform(texts).column
    options = {"dim": 3, "dropout": 0.0, "ngram_dropout": 0.0, "buckets": 4096, "word_share": 1.0}
    whole = Bag(BagConfig(**options), modality.describe()).eval()
    counted = whole.prepare(column)
    train = torch.tensor([0, 1, 2])
    whole.fit(counted.select(train))
    kept = (whole.idf > 0).nonzero()[:, 0]
    some = Bag(BagConfig(**options, rows=len(kept)), modality.describe()).eval()
    some.keep(kept)
    some.fit(counted.select(train))
    assert some.table.shape == (len(kept) + 1, 3)
    with torch.no_grad():
        some.table[0] = 1e6
        some.table[1:] = whole.table[kept]
    rows = counted.gather(torch.arange(4))
    torch.testing.assert_close(some(rows).pooled, whole(rows).pooled)
    dense = torch.from_numpy(np.asarray(some.sparse(counted).todense()))
    torch.testing.assert_close((dense @ some.table)[:3], some(rows).pooled[:3], atol=1e-5, rtol=1e-5)
    # Of the last text only a blank is known; words have the length that is asked for.
    lengths = torch.from_numpy(np.sqrt(np.asarray(whole.sparse(counted).power(2).sum(1))).ravel())
    torch.testing.assert_close(lengths, torch.tensor([2.0, 2.0, 2.0, 1.0]).sqrt(), atol=1e-5, rtol=1e-5)
