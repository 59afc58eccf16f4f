"""Small networks as folders, with random weights, as transformers and timm save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

_SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
CARD = "---\nlicense: mit\n---\n"


def network(folder: Path, family: str, **options: Any) -> Path:
    """A network of transformers."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    config = transformers.AutoConfig.for_model(family, **{**_SHAPE, **options})
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


def bert(folder: Path, words: list[str], layers: int = 1) -> Path:
    """One of texts, which knows some words, in small letters, and nothing else."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    network(folder, "bert", vocab_size=len(words) + 3, max_position_embeddings=16, num_hidden_layers=layers)
    vocabulary = {word: place for place, word in enumerate(["[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def vit(folder: Path, layers: int = 1) -> Path:
    """One of pictures of 32 pixels, trained with a mean of .5 and a deviation of .25."""
    network(folder, "vit", image_size=32, patch_size=16, num_hidden_layers=layers)
    wants = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(wants), encoding="utf-8")
    return folder


def of_timm(folder: Path) -> Path:
    """A network of timm as its hub keeps it."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(4)
    net = timm.create_model("resnet10t", num_classes=7)
    folder.mkdir()
    wants = {"input_size": [3, 48, 48], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    (folder / "config.json").write_text(json.dumps({"architecture": "resnet10t", "pretrained_cfg": wants}), encoding="utf-8")
    safetensors.torch.save_file({k: v.contiguous() for k, v in net.state_dict().items()}, folder / "model.safetensors")
    return folder
