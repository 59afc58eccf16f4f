"""Steps in seconds: how long a step of a model is, and whose column leads."""

from __future__ import annotations

import pytest
import torch

from mmcli.data.inputs import Input
from mmcli.encoders.crnn import Config as CrnnConfig
from mmcli.encoders.crnn import Crnn
from mmcli.errors import ConfigError
from mmcli.modalities.audio import Audio
from mmcli.modalities.audio import Config as AudioConfig
from mmcli.modalities.image import Config as ImageConfig
from mmcli.modalities.image import Image
from mmcli.models.networks import FusedModel
from mmcli.models.recipe import build_head
from mmcli.models.timing import Clock
from mmcli.signals import Column
from mmcli.tasks.text import Config, Text
from mmcli.text.spelled import dense, spelled
from mmcli.training.device import Compute

AUDIO = AudioConfig(sample_rate=8000, mels=16)
INPUTS = {
    "sound": Input("sound", {"sound": Audio(AUDIO, [0.0] * 16, [1.0] * 16)}),
    "picture": Input("picture", {"picture": Image.fit(ImageConfig(size=16), [])}),
}


def task() -> Text:
    return Text.fit(Config(), [(f"one two {word}",) for word in ("one", "two", "one two", "two one") * 5], ["t"])


def network(*names: str) -> FusedModel:
    torch.manual_seed(0)
    encoders = {name: Crnn(CrnnConfig(width=4, hidden=8), INPUTS[name].spec) for name in names}
    dims = dict.fromkeys(names, 16)
    head = build_head("gated-cross-attention", {}, dims, {name: name for name in names}, task(), {"name": "ctc", "config": {}})
    return FusedModel(encoders, head)  # type: ignore[arg-type]


COMPUTE = Compute(torch.device("cpu"), "float32", threads=1)


def test_a_step_is_as_many_frames_as_the_encoder_makes_it_of() -> None:
    clock = Clock.of(network("sound", "picture"), INPUTS, COMPUTE)
    assert (clock.lead, clock.stride, clock.frame_s) == ("sound", 4, pytest.approx(0.01))


def test_frames_of_the_samples_themselves_are_as_long_as_their_window() -> None:
    assert Audio(AudioConfig(features="waveform"), [0.0] * 400, [1.0] * 400).step_s == pytest.approx(0.025)
    assert Audio(AudioConfig(sample_rate=11025), [0.0] * 80, [1.0] * 80).step_s == pytest.approx(110 / 11025)
    assert INPUTS["picture"].first.step_s == 0


def test_only_sound_has_times() -> None:
    with pytest.raises(ConfigError, match="follow the steps of 'picture'") as error:
        Clock.of(network("picture", "sound"), INPUTS, COMPUTE)
    assert "--order sound" in str(error.value.remedy)
    with pytest.raises(ConfigError, match="no times") as error:
        Clock.of(network("picture"), {"picture": INPUTS["picture"]}, COMPUTE)
    assert error.value.remedy == "The model reads no sound."


def test_words_are_timed_by_hand_and_rows_without_sound_have_no_times() -> None:
    own = task()
    one, two = own.units.ids("one two")
    outputs = dense(spelled(["", ""], [[one, two], [two]], own.width, 10))  # at steps 0 and 1, and at 0
    frames = Column(torch.zeros(38, 16), torch.tensor([True, False]), torch.tensor([0, 38, 38]))
    found = Clock(own, "sound", 4, 0.01).words(outputs, {"sound": frames})  # 38 frames are 10 steps of 4
    assert [(word.word, word.start, word.end) for word in found[0]] == [("one", 0.0, 0.04), ("two", 0.04, 0.08)]
    assert [(word.word, word.start, word.end) for word in found[1]] == [("two", None, None)]
