"""What a column holds, made into what pretrained weights were trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mmcli import registry
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError
from mmcli.modalities.text import Config as TextConfig
from mmcli.modalities.text import Text
from mmcli.pretrained import conversion
from mmcli.signals import Column, SignalSpec
from tests.pretrained import making

HELD = ([0.4, 0.5, 0.6], [0.2, 0.25, 0.5])
PIXELS = {"size": 8, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


def build(name: str, spec: SignalSpec, **options: Any) -> Encoder:
    part = registry.load("encoders", name)
    config = part.resolve(registry.config_of(part)(**options))
    encoder: Encoder = part(config, spec)
    encoder.start()
    return encoder.eval()


def test_pictures_get_the_size_and_the_colours() -> None:
    torch.manual_seed(0)
    pixels = torch.rand(3, 3, 4, 4)
    mean, std = (torch.tensor(own).reshape(3, 1, 1) for own in HELD)
    made = conversion.rescaled(((pixels - mean) / std).half(), conversion.of_pixels(PIXELS, HELD))
    wanted = (F.interpolate(pixels, (8, 8), mode="bilinear") - 0.5) / 0.25
    torch.testing.assert_close(made, wanted, atol=3e-3, rtol=0)
    plain = torch.full((1, 3, 16, 16), 0.75)
    torch.testing.assert_close(
        conversion.rescaled((plain - mean) / std, conversion.of_pixels(PIXELS, HELD)), torch.ones(1, 3, 8, 8)
    )
    checks = (torch.arange(16)[:, None] + torch.arange(16)) % 2  # every second pixel: the mean of those that become one
    small = conversion.rescaled(((checks.expand(1, 3, 16, 16) - mean) / std), conversion.of_pixels(PIXELS, HELD))
    assert float(small.abs().max()) < 0.2


@pytest.mark.parametrize(
    "wrong",
    [{"size": 10**9}, {"size": "8"}, {"std": [0.0, 1.0, 1.0]}, {"mean": [1.0]}, {"held_mean": None}, {"frames": 10**6}],
)
def test_what_an_artifact_tells_of_a_conversion_is_checked(wrong: dict[str, Any]) -> None:
    how = conversion.of_pixels(PIXELS, HELD)
    conversion.check(how)
    with pytest.raises(ConfigError, match=rf"conversion\.{next(iter(wrong))} is "):
        conversion.check({**how, **wrong})
    texts = conversion.of_texts(b"{}", 16)
    conversion.check(texts)
    with pytest.raises(ConfigError, match="tokenizer_bytes"):
        conversion.check({**texts, "tokenizer_bytes": 10**12})


def test_clips_get_as_many_frames_as_are_wanted() -> None:
    clip = torch.arange(8.0).reshape(1, 8, 1, 1, 1).expand(1, 8, 3, 4, 4)
    how = conversion.of_pixels({"size": 4, "mean": [0] * 3, "std": [1] * 3, "frames": 4}, ([0.0] * 3, [1.0] * 3))
    assert conversion.rescaled(clip, how)[0, :, 0, 0, 0].tolist() == [0, 2, 5, 7]
    how["frames"] = 16
    assert conversion.rescaled(clip, how)[0, :, 0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]


CELLS = ["a red Dog", None, "dog", "", "红 dog", "a a a a a a a a a a a a a a a a a a a a"]


def test_texts_are_tokenised_anew_as_were_they_preprocessed_for_the_network(tmp_path: Path) -> None:
    folder = making.bert(tmp_path / "bert", ["a", "red", "dog", "红"])
    part = registry.load("encoders", "hf")
    wants = part.preprocessing(registry.config_of(part)(model=str(folder)))["text"]
    learnt, given = Text.fit(TextConfig(), ["a red dog", "红 dog"] * 3), Text.fit(TextConfig(**wants), [])
    data = Path(wants["tokenizer"]).read_bytes()
    how = conversion.of_texts(data, wants["max_tokens"])
    own = build("hf", given.describe(), model=str(folder), tune="head")
    column, theirs = learnt.transform(CELLS).column, given.transform(CELLS).column
    made = build("hf", learnt.describe(), model=str(folder), tune="head", convert=True, conversion=how)
    whole = build("hf", learnt.describe(), model=str(folder), convert=True, conversion=how)
    ids = whole.prepare(column)
    assert isinstance(ids, Column)
    torch.testing.assert_close(ids.values, theirs.values)
    assert ids.offsets is not None
    assert ids.offsets.tolist() == theirs.offsets.tolist() == [0, 5, 5, 8, 10, 14, 28]  # type: ignore[union-attr]
    here, wanted = made.prepare(column), own.prepare(theirs)
    torch.testing.assert_close(here.values, wanted.values)  # type: ignore[union-attr]
    assert made.preparation() is whole.preparation() is None
    assert made.prepare(column.select(torch.tensor([1]))).lengths.tolist() == [0]  # type: ignore[union-attr]
    again = registry.load("encoders", "hf")(made.config, learnt.describe())  # type: ignore[operator]
    again.load_state_dict(made.state_dict())  # without the folder: its tokenizer stands among the weights
    (folder / "tokenizer.json").unlink()
    torch.testing.assert_close(again.eval().prepare(column).values, wanted.values)


def test_what_a_tokenizer_does_not_know_is_counted(tmp_path: Path) -> None:
    data = (making.bert(tmp_path / "bert", ["a", "red", "dog"]) / "tokenizer.json").read_bytes()
    made = conversion.tokenizer(data, 16)
    assert conversion.unknown_share(made, ["a red Dog", "苹果"]) == 0.25
    assert conversion.unknown_share(made, []) == 0
    with pytest.raises(ConfigError, match=r"this is no tokenizer\.json"):
        conversion.tokenizer(b"{}", 16)


def test_a_network_sees_what_is_stored_rescaled(tmp_path: Path) -> None:
    spec = SignalSpec(kind="grid", shape=(3, 16, 16))
    column = Column(torch.randn(3, 3, 16, 16).half(), torch.tensor([True, False, True]))
    for name, folder, size in (("hf", making.vit(tmp_path / "vit"), 32), ("timm", making.of_timm(tmp_path / "net"), 48)):
        part = registry.load("encoders", name)
        wants = part.preprocessing(registry.config_of(part)(model=str(folder)))["image"]
        assert wants["size"] == size
        how, options = conversion.of_pixels(wants, HELD), {"model": str(folder), "weights": "default", "tune": "head"}
        made = build(name, spec, **options, convert=True, conversion=how)
        own = build(name, SignalSpec(kind="grid", shape=(3, size, size)), **options)
        rescaled = Column(conversion.rescaled(column.values, how), column.present)
        torch.testing.assert_close(made.prepare(column).values, own.prepare(rescaled).values)  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="convert=true makes signals into what pretrained weights know"):
        build("timm", spec, model="resnet10t", convert=True)


def test_a_folder_of_timm_gives_the_weights_of_its_file(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    folder = making.of_timm(tmp_path / "net")
    encoder = build("timm", SignalSpec(kind="grid", shape=(3, 48, 48)), model=str(folder), weights="default")
    net = timm.create_model("resnet10t", num_classes=7, checkpoint_path=str(folder / "model.safetensors")).eval()
    values = torch.randn(2, 3, 48, 48)
    pooled = encoder(Column(values, torch.ones(2, dtype=torch.bool)).gather(torch.arange(2))).pooled
    torch.testing.assert_close(pooled, net.forward_head(net.forward_features(values), pre_logits=True))
    (folder / "config.json").write_text('{"architecture": "resnet10t"}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"does not tell architecture, input_size, mean and std.*KeyError"):
        build("timm", SignalSpec(kind="grid", shape=(3, 48, 48)), model=str(folder), weights="default")
