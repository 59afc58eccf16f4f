"""Licences of weights of others, as they tell them."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch

from mmcli.pretrained import licences

MIT = "MIT License\n\nCopyright (c) 2020\n\nPermission is hereby granted, free of\ncharge, to any person"


def weights(folder: Path, **metadata: str) -> Path:
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file({"w": torch.zeros(1)}, folder / "model.safetensors", metadata or None)
    return folder


@pytest.mark.parametrize(
    ("card", "wanted"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\ntags: [a]\n---\n# Card\n", "apache-2.0"),
        ("---\nlicense: 'mit'\n---\n", "mit"),
        ("---\nlicense: other\nlicense_name: llama3\n---\n", "llama3"),
        ("---\nlicense: other\n---\n", "other"),
        ("# no front matter\nlicense: mit\n", "unknown"),
        ("---\nlicense:\n---\n", "unknown"),
    ],
)
def test_a_model_card_tells_it(card: str, wanted: str, tmp_path: Path) -> None:
    folder = weights(tmp_path / "model")
    (folder / "README.md").write_text(card, encoding="utf-8")
    assert licences.licence(folder) == wanted


def test_a_card_goes_before_metadata_and_a_file_beside(tmp_path: Path) -> None:
    folder = weights(tmp_path / "model", license="cc-by-4.0")
    (folder / "LICENSE").write_text(MIT, encoding="utf-8")
    assert licences.licence(folder) == "cc-by-4.0"
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n", encoding="utf-8")
    assert licences.licence(folder) == "apache-2.0"
    assert licences.licence(folder / "model.safetensors") == "cc-by-4.0"  # a file tells its own first


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (MIT, "mit"),
        ("                 Apache License\n           Version 2.0, January 2004\n", "apache-2.0"),
        ("GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007", "gpl-3.0"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\n   Version 3", "agpl-3.0"),
        ("Redistribution and use in source and binary forms\nNeither the name of X may be used to endorse", "bsd-3-clause"),
        ("# My own terms\nAsk me.", "My own terms"),
        ("", "unknown"),
    ],
)
def test_a_text_beside_is_known_by_its_words(text: str, wanted: str, tmp_path: Path) -> None:
    folder = weights(tmp_path / "model")
    (folder / "LICENSE").write_text(text, encoding="utf-8")
    assert licences.licence(folder) == wanted


def test_weights_are_called_by_what_says_something(tmp_path: Path) -> None:
    class Config:
        weights = "default"
        model = ""

    for place, wanted in (
        ("minilm", "minilm"),
        ("minilm/model", "minilm/model"),
        ("models--org--name/snapshots/0123", "org/name"),
    ):
        folder = tmp_path / place
        folder.parent.mkdir(parents=True, exist_ok=True)
        weights(folder, license="mit")
        Config.model = str(folder)
        assert licences.origin(Config) == licences.Origin(wanted, "mit")
    Config.weights = "none"
    assert licences.origin(Config) is None
    Config.weights, Config.model = "default", "nobody/nothing-of-the-kind"
    assert licences.origin(Config) in {licences.Origin(Config.model, "unknown")}


def test_an_onnx_file_tells_it_in_its_metadata(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from tests.media import yunet

    path = yunet.write(tmp_path / "a.onnx")
    assert licences.licence(path) == "unknown"
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"author": "x" * 300, "license": "MIT"})
    onnx.save(model, path)
    assert licences.licence(path) == "MIT"
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:-5])
    (tmp_path / "b.onnx").write_bytes(b"\xff" * 40)
    assert licences.licence(tmp_path / "cut.onnx") == licences.licence(tmp_path / "b.onnx") == "unknown"
