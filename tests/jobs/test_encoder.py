"""Mixing rows of a batch; warm starts; races."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmcli.data.dataset import Dataset
from mmcli.data.inputs import Input
from mmcli.encoders.conformer import Config as ConformerConfig
from mmcli.encoders.conformer import Conformer
from mmcli.errors import ConfigError
from mmcli.heads.ctc import Config as CtcConfig
from mmcli.heads.ctc import Ctc
from mmcli.jobs import encoder as encoder_job
from mmcli.jobs import warmstart
from mmcli.modalities.audio import Audio
from mmcli.modalities.audio import Config as SoundConfig
from mmcli.models.columns import ColumnModel
from mmcli.options.train_encoder import Budget
from mmcli.selection import race
from mmcli.signals import Batch, Signal
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as TaskConfig
from mmcli.tasks.text import Config as TextConfig
from mmcli.tasks.text import Text
from mmcli.text import lattice
from mmcli.training.config import TrainingConfig
from tests.encoders.test_contract import build

HERE = torch.ones(4, dtype=torch.bool)


def test_mixup_blends_each_row_with_its_partner() -> None:
    torch.manual_seed(1)
    values = torch.arange(4.0).reshape(4, 1, 1, 1).expand(4, 3, 8, 8)
    signal, other, share = encoder_job.mixed(Signal(values, HERE), "mixup")
    expected = share * torch.arange(4.0) + (1 - share) * other.float()
    torch.testing.assert_close(signal.values[:, 0, 0, 0], expected)
    assert 0 < share < 1


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 3, 16, 16)])
def test_cutmix_puts_in_one_box_whose_area_is_the_rest_of_the_share(shape: tuple[int, ...]) -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        values = torch.arange(4.0).reshape(4, *[1] * len(shape)).expand(4, *shape)
        signal, other, share = encoder_job.mixed(Signal(values, HERE), "cutmix")
        for row in range(4):
            if other[row] != row:
                assert float((signal.values[row] == row).float().mean()) == pytest.approx(share)
                assert set(signal.values[row].unique().tolist()) <= {float(row), float(other[row])}


def test_cutmix_of_sound_puts_in_a_stretch_of_time_and_keeps_the_padding_empty() -> None:
    torch.manual_seed(3)
    lengths = torch.tensor([10, 6, 10, 10])
    values = (torch.arange(4.0) + 1).reshape(4, 1, 1).expand(4, 10, 5)
    signal, _, _ = encoder_job.mixed(Signal(values, HERE, lengths), "cutmix")
    assert (signal.values[1, 6:] == 0).all()
    assert (signal.values == signal.values[..., :1]).all()


def test_vicreg_by_hand() -> None:
    """Two rows, two features: all three terms on paper."""
    one = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    two = torch.tensor([[2.0, 1.0], [0.0, 1.0]])
    invariance = 1 / 4
    variance_one = (0 + max(1 - 0.5**0.5, 0)) / 2  # deviations sqrt(2) and sqrt(1/2)
    variance_two = (0 + 1 - 1e-2) / 2  # sqrt(2), and sqrt(1e-4) of a feature that does not vary
    covariance = 2 * (-1.0) ** 2 / 2  # of the first view: (1)(-1/2) + (-1)(1/2) = -1, twice, by 2 features; the second's is 0
    expected = 25 * invariance + 12.5 * (variance_one + variance_two) + covariance
    assert float(warmstart.vicreg(one, two)) == pytest.approx(expected, rel=1e-3)


def test_hidden_tokens_are_learnt_from_those_around_them() -> None:
    """A text is one letter over and over: after a few steps the hidden one is guessed far better than by chance."""
    encoder = build("rnn", "ids", hidden=16, embedding=16, dropout=0.0, token_dropout=0.0)
    torch.manual_seed(0)
    values = torch.randint(4, 12, (64, 1)).expand(64, 6).int().contiguous()
    signal = Signal(values, torch.ones(64, dtype=torch.bool), torch.full((64,), 6))
    objective = warmstart.MaskedTokens(encoder, 25, 0)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.02)
    first = float(objective(signal).detach())
    for _ in range(40):
        optimizer.zero_grad()
        loss = objective(signal)
        loss.backward()
        optimizer.step()
    assert first > 2.5
    assert float(objective(signal).detach()) < 0.5


def test_what_has_no_warm_start_says_why() -> None:
    assert warmstart.unfit(build("bag", "ids"), "ids") == "there is none for a bag of n-grams"
    assert warmstart.unfit(build("mlp", "fields"), "fields") == "there is none for fields"
    assert warmstart.unfit(build("rnn", "ids"), "ids") == ""
    assert warmstart.unfit(build("cnn", "grid"), "grid") == ""


def test_a_race_stops_those_that_are_worse_beyond_noise_and_no_others() -> None:
    task = Classification.fit(TaskConfig(), [("a",), ("b",)], ["y"])
    targets = torch.arange(200) % 2
    right = torch.nn.functional.one_hot(targets, 2) * 4.0
    nearly = right.clone()
    nearly[:2] = nearly[:2].flip(1)
    chance = torch.zeros_like(right) + torch.tensor([1.0, 0.0])
    standings = race.judge({"good": right, "alike": nearly, "bad": chance}, targets, task, 0)
    assert [standings[name].kept for name in ("good", "alike", "bad")] == [True, True, False]
    assert standings["bad"].score == 0.5
    assert standings["bad"].reason.startswith("worse than good by 0.5 [")


@pytest.mark.parametrize(
    ("text", "budget"),
    [("60s", Budget(seconds=60)), ("2m", Budget(seconds=120)), ("1.5m", Budget(seconds=90)), ("5", Budget(epochs=5))],
)
def test_budgets(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize("text", ["", "0", "fast", "1.5", "-3", "5 days"])
def test_budgets_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="neither a time nor a number of epochs"):
        Budget.parse(text)


def spoken() -> tuple[ColumnModel, Dataset]:
    """A reader of spectrograms by CTC, and what it must know of a table with one of them."""
    sound = Audio(SoundConfig(mels=8), [0.0] * 8, [1.0] * 8)
    texts = Text.fit(TextConfig(units="char"), [("ab",), ("abba",)], ["says"])
    encoder = Conformer(ConformerConfig(dim=8, heads=2, layers=1, kernel=3, channels=3), sound.describe())
    network = ColumnModel(encoder, Ctc(CtcConfig(dropout=0.0), texts, encoder.dim))
    dataset: Any = SimpleNamespace(task=texts, input=lambda _: Input("a", {"a": sound}), readers=lambda _: ["a"])
    return network, dataset


def test_two_variations_of_a_row_have_its_pace_and_their_own_gaps() -> None:
    network, dataset = spoken()
    lengths = torch.tensor([60, 40, 50, 60])
    signal = Signal(torch.ones(4, 60, 8), HERE, lengths)
    varied = encoder_job.variation("a", network.encoder, dataset, "light", twice=True)
    assert varied is not None
    torch.manual_seed(0)
    made = varied(signal, torch.tensor([[1, 2, -1, -1]] * 4))
    assert len(made.values) == 8
    assert made.lengths is not None
    assert made.lengths[:4].tolist() == made.lengths[4:].tolist() != lengths.tolist()
    assert not torch.equal(made.values[:4] == 0, made.values[4:] == 0)
    torch.manual_seed(0)
    once, both = (encoder_job.variation("a", network.encoder, dataset, "light", twice=own) for own in (False, True))
    assert once is not None
    assert both is not None
    long = Signal(torch.ones(400, 100, 8), torch.ones(400, dtype=torch.bool), torch.full((400,), 100))
    units = torch.ones(400, 1, dtype=torch.int64)
    blank = [float((own(long, units).values[:, :60] == 0).all(2).float().mean()) for own in (once, both)]
    assert blank[1] > 1.6 * blank[0]
    assert encoder_job.variation("a", network.encoder, dataset, "none", twice=True) is None


def test_why_rows_are_not_read_twice() -> None:
    _, dataset = spoken()
    light = TrainingConfig(consistency=0.2)
    assert encoder_job.why_read_once("ctc", light, dataset, "a") == ""
    assert encoder_job.why_read_once("decoder", light, dataset, "a") == "its head says nothing step by step"
    assert encoder_job.why_read_once("ctc", TrainingConfig(augment="none"), dataset, "a") == "its rows do not vary"
    two: Any = SimpleNamespace(input=dataset.input, readers=lambda _: ["a", "b"])
    assert encoder_job.why_read_once("ctc", light, two, "a") == "2 inputs share it"


def test_the_loss_of_rows_varied_twice_is_the_mean_of_both_and_what_lies_between() -> None:
    network, _ = spoken()
    network.eval()
    targets = torch.tensor([[1, 2, -1, -1], [1, 2, 2, 1], [2, -1, -1, -1], [1, 1, -1, -1]])
    one, other = (Signal(torch.randn(4, 60, 8), HERE, torch.full((4,), 60)) for _ in range(2))
    both = Signal(torch.cat([one.values, other.values]), HERE.repeat(2), torch.full((8,), 60))
    once = encoder_job._Step(network, "a", "none")
    rows = torch.arange(4)
    losses = [once(Batch(rows, {"a": signal}, targets)).item() for signal in (one, other)]
    said = network.head(network.fused(both))
    between = lattice.divergences(said).detach() / torch.tensor([2, 4, 1, 2])
    twice = encoder_job._Step(network, "a", "none", 0.3)
    expected = sum(losses) / 2 + 0.3 * float(between.mean())
    assert twice(Batch(rows, {"a": both}, targets)).item() == pytest.approx(expected, rel=1e-5)
    assert float(between.mean()) > 0
