"""What every encoder must do, whatever it is: a new file is tested the moment it exists."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor

from mmcli import registry
from mmcli.encoders import Encoder, parameter_count
from mmcli.errors import ConfigError
from mmcli.signals import Column, Field, SignalSpec

NAMES = list(registry.parts("encoders"))
PIECES = (b"", b"", b"", b"", *(bytes([97 + i]) for i in range(20)), "南瓜灯圣诞树".encode())
SPECS = {
    "grid": SignalSpec(kind="grid", shape=(3, 32, 32)),
    "ids": SignalSpec(kind="ids", shape=(), vocab_size=len(PIECES), pieces=PIECES),
    "sequence": SignalSpec(kind="sequence", shape=(5,)),
    "spectrogram": SignalSpec(kind="spectrogram", shape=(16,)),
    "vector": SignalSpec(kind="vector", shape=(5,)),
    "clip": SignalSpec(kind="clip", shape=(4, 3, 32, 32)),
    "fields": SignalSpec(kind="fields", shape=(3,), fields=(Field("a"), Field("b", 4), Field("c"))),
}
SMALL: dict[str, dict[str, Any]] = {
    "cnn": {"width": 8, "stages": 2},
    "rnn": {"hidden": 6, "embedding": 5},
    "bag": {"buckets": 128, "dim": 12},
    "crnn": {"width": 4, "hidden": 6},
    "transformer": {"dim": 8, "heads": 2, "layers": 2},
    "mlp": {"members": 2, "hidden": 10, "bins": 4},
    "ft-transformer": {"dim": 8, "heads": 2, "bins": 4},
    "cnn-rnn": {"width": 4, "stages": 2, "hidden": 6},
}
_SHAPE = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "image_size": 32}
_WAVES = {"conv_dim": [4], "conv_stride": [5], "conv_kernel": [5], "feat_extract_norm": "layer"}
_PLACES = {"num_conv_pos_embeddings": 2, "num_conv_pos_embedding_groups": 2}
_HF = {
    "ids": {"model_type": "bert", "vocab_size": len(PIECES), "max_position_embeddings": 16},
    "sequence": {"model_type": "wav2vec2", **_WAVES, **_PLACES},
    "grid": {"model_type": "vit", "patch_size": 16},
    "clip": {"model_type": "videomae", "patch_size": 16, "num_frames": 4},
}
"""Networks of transformers, as their config.json would define them."""


def small(name: str, kind: str) -> dict[str, Any]:
    """Options that make an encoder of that kind of signal small."""
    if name == "hf":
        return {"model": "made-here", "weights": "none", "definition": {**_SHAPE, **_HF.get(kind, {})}}
    return SMALL.get(name, {})


ROWS = 6


def column(kind: str) -> Column:
    """Six rows; row 3 is absent, and ragged rows differ in length."""
    generator = torch.Generator().manual_seed(0)
    present = torch.tensor([True, True, True, False, True, True])
    if kind == "grid":
        return Column(torch.randn(ROWS, 3, 32, 32, generator=generator).half() * present[:, None, None, None], present)
    if kind in {"vector", "clip"}:
        shape = SPECS[kind].shape
        values = torch.randn(ROWS, *shape, generator=generator) * present.reshape(-1, *[1] * len(shape))
        times = torch.arange(shape[0], dtype=torch.float32).expand(ROWS, -1) if kind == "clip" else None
        return Column(values, present, times=times)
    if kind == "fields":
        values = torch.tensor([[0.5, 1, -1], [float("nan"), 0, 2], [1, 3, 0.1], [float("nan")] * 3, [0, 2, 9], [-50, 1, 0]])
        return Column(values, present)
    lengths = torch.tensor([4, 1, 7, 0, 2, 3])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    if kind == "ids":
        return Column(torch.randint(4, 24, (17,), generator=generator, dtype=torch.int32), present, offsets)
    return Column(torch.randn(17, SPECS[kind].shape[0], generator=generator), present, offsets)


def build(name: str, kind: str, **options: Any) -> Encoder:
    torch.manual_seed(0)
    part = registry.load("encoders", name)
    encoder: Encoder = part(registry.config_of(part)(**{**small(name, kind), **options}), SPECS[kind])
    return encoder


for _name, _package in (("timm", "timm"), ("hf", "transformers")):
    if importlib.util.find_spec(_package) is None:
        NAMES.remove(_name)

CASES = [(name, kind) for name in NAMES for kind in SPECS if kind in registry.load("encoders", name).kinds]


def features(encoder: Encoder, kind: str, index: Tensor | None = None) -> Any:
    prepared = encoder.prepare(column(kind))
    encoder.fit(prepared)
    return encoder(prepared.gather(torch.arange(ROWS) if index is None else index))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_shapes(name: str, kind: str) -> None:
    encoder = build(name, kind).eval()
    made = features(encoder, kind)
    assert made.pooled.shape == (ROWS, encoder.dim)
    assert made.tokens.shape[0] == ROWS
    assert made.tokens.shape[2] == encoder.dim
    assert made.mask.shape == made.tokens.shape[:2]
    assert made.mask.any(dim=1).all()
    assert made.present.tolist() == [True, True, True, False, True, True]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_an_absent_cell_gets_the_learned_embedding(name: str, kind: str) -> None:
    encoder = build(name, kind).eval()
    torch.nn.init.normal_(encoder.absent)
    made = features(encoder, kind)
    assert torch.equal(made.pooled[3], encoder.absent)
    assert torch.equal(made.tokens[3][made.mask[3]], encoder.absent[None])
    assert not torch.equal(made.pooled[0], encoder.absent)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_padding_and_neighbours_change_nothing(name: str, kind: str) -> None:
    encoder = build(name, kind).eval()
    together = features(encoder, kind)
    for row in range(ROWS):
        alone = features(encoder, kind, torch.tensor([row]))
        torch.testing.assert_close(alone.pooled[0], together.pooled[row], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            alone.tokens[0][alone.mask[0]], together.tokens[row][together.mask[row]], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_gradients_reach_every_parameter_and_are_finite(name: str, kind: str) -> None:
    encoder = build(name, kind).train()
    made = features(encoder, kind)
    (made.pooled.square().sum() + made.tokens.square().sum()).backward()
    for parameter_name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_deterministic_and_through_a_state_dict(name: str, kind: str) -> None:
    encoder = build(name, kind).eval()
    made = features(encoder, kind)
    torch.manual_seed(99)
    part = registry.load("encoders", name)
    other = part(registry.config_of(part)(**small(name, kind)), SPECS[kind]).eval()
    other.load_state_dict(encoder.state_dict())
    again = other(other.prepare(column(kind)).gather(torch.arange(ROWS)))
    assert torch.equal(again.pooled, made.pooled)
    assert torch.equal(again.tokens, made.tokens)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_bfloat16_autocast(name: str, kind: str) -> None:
    encoder = build(name, kind).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = features(encoder, kind)
    assert made.pooled.float().isfinite().all()
    made.pooled.float().sum().backward()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_parameters_are_as_the_formula_says(name: str, kind: str) -> None:
    part = registry.load("encoders", name)
    presets = [{}, {"preset": "reference"}] if "preset" in registry.config_of(part).model_fields else [{}]
    for preset in presets:
        if preset and kind in {"sequence", "spectrogram"}:
            continue  # the founding networks read token ids and pictures
        config = registry.config_of(part)(**{**small(name, kind), **preset})
        assert parameter_count(part(config, SPECS[kind])) == part.parameter_formula(config, SPECS[kind])


def test_a_torchvision_network_that_wants_another_size_says_so() -> None:
    part = registry.load("encoders", "torchvision")
    for model in ("vit_b_16", "inception_v3"):
        with torch.device("meta"), pytest.raises(ConfigError, match=f"torchvision:{model} cannot take 32 x 32 pixels"):
            part(registry.config_of(part)(model=model), SPECS["grid"])
    with torch.device("meta"):
        part(registry.config_of(part)(model="resnet18"), SPECS["grid"])
    with pytest.raises(ConfigError, match=r"Did you mean 'resnet18'\?"):
        part(registry.config_of(part)(model="resnet19"), SPECS["grid"])


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_it_does_not_take_is_an_error(name: str) -> None:
    for kind in set(SPECS) - set(registry.load("encoders", name).kinds):
        with pytest.raises(ConfigError, match=f"the encoder {name} takes .*, the column is a {kind}"):
            build(name, kind)
