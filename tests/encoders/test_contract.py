"""What every encoder must do, whatever it is: a new file is tested the moment it exists, by the checks of `mmcli check`."""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

from mmcli import registry
from mmcli.checks import Check, encoder
from mmcli.checks.encoder import PIECES, SPECS, Subject
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError
from mmcli.signals import Kind

NAMES = list(registry.parts("encoders"))
SMALL: dict[str, dict[str, Any]] = {
    "cnn": {"width": 8, "stages": 2},
    "rnn": {"hidden": 6, "embedding": 5},
    "bag": {"buckets": 128, "dim": 12},
    "crnn": {"width": 4, "hidden": 6},
    "transformer": {"dim": 8, "heads": 2, "layers": 2},
    "conformer": {"dim": 8, "heads": 2, "layers": 2, "kernel": 3, "channels": 3},
    "mlp": {"members": 2, "hidden": 10, "bins": 4},
    "tabm": {"members": 3, "hidden": 10, "bins": 4},
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


@functools.cache
def _onnx_file() -> Path:
    from tests.encoders import faces

    return faces.write(Path(tempfile.mkdtemp()) / "faces.onnx", side="side")


def small(name: str, kind: str) -> dict[str, Any]:
    """Options that make an encoder of that kind of signal small."""
    if name == "hf":
        return {"model": "made-here", "weights": "none", "definition": {**_SHAPE, **_HF.get(kind, {})}}
    if name == "onnx":
        return {"model": str(_onnx_file())}
    return SMALL.get(name, {})


for _name, _packages in (("timm", ["timm"]), ("hf", ["transformers"]), ("onnx", ["onnx", "onnxruntime"])):
    if any(importlib.util.find_spec(package) is None for package in _packages):
        NAMES.remove(_name)

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "crnn": [{"cell": "lstm", "layers": 2}, {"stride": 2}],
    "conformer": [{"stride": 2}, {"stride": 2, "halves": True}],
    "cnn": [{"stem": 4}],
    "cnn-rnn": [{"stem": 4}],
}
"""Options besides that change what an encoder is built of."""
CASES = [(name, kind) for name in NAMES for kind in SPECS if kind in registry.load("encoders", name).kinds]


def build(name: str, kind: Kind, **options: Any) -> Encoder:
    """A small encoder, always the same."""
    return Subject(name, kind, {**small(name, kind), **options}).build()


@pytest.mark.parametrize("check", encoder.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_contract(name: str, kind: Kind, check: Check) -> None:
    check(Subject(name, kind, small(name, kind)))


@pytest.mark.parametrize("check", encoder.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("name", "kind", "options"), [(n, k, o) for n, k in CASES for o in VARIANTS.get(n, [])])
def test_contract_of_variants(name: str, kind: Kind, options: dict[str, Any], check: Check) -> None:
    check(Subject(name, kind, {**small(name, kind), **options}))


def test_every_kind_of_signal_that_it_takes_is_tried() -> None:
    assert {(name, subject.kind) for name in NAMES for subject in encoder.subjects(name)} == set(CASES)


def test_a_torchvision_network_that_wants_another_size_says_so() -> None:
    part = registry.load("encoders", "torchvision")
    for model in ("vit_b_16", "inception_v3"):
        with torch.device("meta"), pytest.raises(ConfigError, match=f"torchvision:{model} cannot take 32 x 32 pixels"):
            part(registry.config_of(part)(model=model), SPECS["grid"])
    with torch.device("meta"):
        part(registry.config_of(part)(model="resnet18"), SPECS["grid"])
    with pytest.raises(ConfigError, match=r"Did you mean 'resnet18'\?"):
        part(registry.config_of(part)(model="resnet19"), SPECS["grid"])
