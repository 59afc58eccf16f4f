"""Pretrained weights: found, refused where they are pickles, put where they belong, tuned in part."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from mmcli import registry
from mmcli.checks.encoder import SPECS, column
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError
from mmcli.pretrained import hub
from mmcli.pretrained import weights as pretrained
from mmcli.signals import Column, SignalSpec


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_blocks_and_depths_count_from_the_output() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(5, 3)
            self.layers = nn.ModuleList([nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), nn.Linear(3, 3)])
            self.norm = nn.LayerNorm(3)

    net = Net()
    assert pretrained.blocks(net) == ["layers.0", "layers.1"]
    depth = pretrained.depths(net)
    assert depth["embed.weight"] == 3
    assert depth["layers.0.0.weight"] == depth["layers.0.1.bias"] == 2
    assert depth["layers.1.weight"] == 1
    assert depth["norm.weight"] == 0
    assert dict(pretrained.rates(net, 0.5))["layers.0.0.weight"] == 0.25
    kept = {name for name, p in pretrained.tune(net, "last-1", 8).named_parameters() if p.requires_grad}
    assert kept == {"layers.1.weight", "layers.1.bias", "norm.weight", "norm.bias"}


def test_a_resnet_has_eight_blocks_after_its_stem() -> None:
    import torchvision

    net = torchvision.models.resnet18()
    assert len(pretrained.blocks(net)) == 8
    depth = pretrained.depths(net)
    assert (depth["conv1.weight"], depth["layer1.0.conv1.weight"], depth["layer4.1.bn2.bias"], depth["fc.bias"]) == (9, 8, 1, 0)


def test_weights_go_where_their_names_say_whatever_stands_before_them(tmp_path: Path) -> None:
    body, other = small(), small()
    nn.init.normal_(other[0].weight)
    file = tmp_path / "w.safetensors"
    safetensors.torch.save_file(
        {f"module.{n}": t.clone() for n, t in other.state_dict().items()} | {"fc.w": torch.ones(1)}, file
    )
    pretrained.put(pretrained.read(file), body, "w")
    for name, tensor in body.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    with pytest.raises(ConfigError, match=r"0\.weight has the shape \[4, 3\], the network wants \[5, 3\]"):
        pretrained.put(pretrained.read(file), nn.Sequential(nn.Linear(3, 5)), "w")
    with pytest.raises(ConfigError, match=r"lacks 2 of the 12 tensors"):
        pretrained.put(pretrained.read(file), nn.Sequential(*small(), nn.Linear(2, 2)), "w")


def test_a_pickle_is_not_loaded_but_its_conversion_is_told(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        with pytest.raises(ConfigError, match=r"is a pickle") as error:
            pretrained.read(path)
        assert "save_file" in error.value.remedy
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="not a readable safetensors file"):
        pretrained.read(tmp_path / "bad.safetensors")


def test_without_a_network_the_error_comes_at_once_and_says_how_to_bring_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub")

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(ConfigError, match="cannot be downloaded") as error:
        hub.fetch("someone/some-model-that-is-not-here")
    assert "hf download someone/some-model-that-is-not-here" in error.value.remedy
    with pytest.raises(ConfigError, match="timm:resnet18 are not on this machine"):
        hub.expect_timm("resnet18")


def test_a_path_that_is_not_there_is_no_hub_name() -> None:
    with pytest.raises(ConfigError, match="there is no such file or folder"):
        hub.local("./nowhere/model")
    assert hub.local("someone/model") is None


def build(name: str, kind: str, spec: SignalSpec | None = None, **options: Any) -> Encoder:
    torch.manual_seed(1)
    part = registry.load("encoders", name)
    config = part.resolve(registry.config_of(part)(**options))
    encoder: Encoder = part(config, spec or SPECS[kind])
    encoder.start()
    return encoder.eval()


def test_torchvision_takes_weights_from_a_file_and_refuses_the_published_pickles(tmp_path: Path) -> None:
    import torchvision

    net = torchvision.models.resnet18(num_classes=1000)
    file = tmp_path / "resnet18.safetensors"
    safetensors.torch.save_file({k: v.contiguous() for k, v in net.state_dict().items()}, file)
    encoder = build("torchvision", "grid", model="resnet18", weights=str(file))
    net.fc = nn.Identity()
    net.eval()
    signal = column("grid").gather(torch.arange(3))
    torch.testing.assert_close(encoder(signal).pooled, net(signal.values.float()))
    features = encoder(signal)
    assert features.tokens.shape == (3, 1, 512)  # 32 pixels come down to one cell
    with pytest.raises(ConfigError, match="publishes the weights of resnet18 as a pickle"):
        build("torchvision", "grid", model="resnet18", weights="default")
    with pytest.raises(ConfigError, match="--tune head keeps weights as they are"):
        build("torchvision", "grid", model="resnet18", tune="head")


def test_a_frozen_network_runs_once_and_gives_what_it_would_give(tmp_path: Path) -> None:
    import torchvision

    file = tmp_path / "w.safetensors"
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=1000)
    safetensors.torch.save_file({k: v.contiguous() for k, v in net.state_dict().items()}, file)
    frozen = build("torchvision", "grid", model="resnet18", weights=str(file), tune="head")
    whole = build("torchvision", "grid", model="resnet18", weights=str(file))
    assert not any(p.requires_grad for p in frozen.body.parameters())  # type: ignore[union-attr, operator]
    prepared = frozen.prepare(column("grid"))
    assert prepared.values.shape == (10, 512)  # five rows that are there, pooled and one token each
    frozen.fit(prepared)
    made = frozen(prepared.gather(torch.arange(6)))
    pooled = whole(column("grid").gather(torch.arange(6))).pooled
    here = torch.tensor([0, 1, 2, 4, 5])
    expected = (pooled[here] - pooled[here].mean(0)) / pooled[here].std(0, unbiased=False).clamp(min=1e-4)
    torch.testing.assert_close(made.pooled[here], expected, atol=0.02, rtol=0.02)
    assert torch.equal(made.pooled[3], frozen.absent)
    assert frozen.preparation() is None
    frozen.compute_all()
    assert frozen.preparation() == {}
    again = frozen(frozen.prepare(column("grid")).gather(torch.arange(6)))  # a graph takes pictures, not what comes of them
    torch.testing.assert_close(again.pooled, made.pooled, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(again.tokens[again.mask], made.tokens[made.mask], atol=2e-3, rtol=2e-3)
    assert torch.equal(again.mask.sum(1), made.mask.sum(1))


def tiny_bert(folder: Path) -> Path:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=30,
        max_position_embeddings=64,
    )
    torch.manual_seed(3)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def test_hugging_face_text_is_what_transformers_computes_without_the_padding(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = tiny_bert(tmp_path / "bert")
    encoder = build("hf", "ids", model=str(folder))
    reference = transformers.BertModel.from_pretrained(folder).eval()
    ids = column("ids")
    made = encoder(ids.gather(torch.arange(6)))
    assert ids.offsets is not None
    for row in (0, 1, 2):
        own = ids.values[ids.offsets[row] : ids.offsets[row + 1]].long()
        states = reference(input_ids=own[None]).last_hidden_state[0]
        torch.testing.assert_close(made.pooled[row], states.mean(0), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(made.tokens[row, : len(own)], states, atol=1e-5, rtol=1e-4)
    # 30 x 16 words, 64 x 16 places, 2 x 16 kinds, a norm; each layer 4 (16 x 16 + 16), 16 x 32 + 32 + 32 x 16 + 16, two norms
    layer = 4 * (16 * 16 + 16) + 16 * 32 + 32 + 32 * 16 + 16 + 64
    assert sum(p.numel() for p in encoder.parameters()) == (30 + 64 + 2) * 16 + 32 + 2 * layer + 16
    with pytest.raises(ConfigError, match="knows 30 tokens, the column was tokenised into 8000"):
        build("hf", "ids", SignalSpec(kind="ids", shape=(), vocab_size=8000), model=str(folder))


def test_lora_starts_as_the_network_itself_and_trains_little(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    folder = tiny_bert(tmp_path / "bert")
    whole, adapted = build("hf", "ids", model=str(folder)), build("hf", "ids", model=str(folder), tune="lora", lora_rank=2)
    ids = column("ids").gather(torch.arange(6))
    torch.testing.assert_close(adapted(ids).pooled, whole(ids).pooled)
    names = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert names
    assert all(".lora_" in name or name == "absent" for name in names)
    assert set(adapted.learning_rates().values()) >= {1.0}


def tiny(folder: Path, family: str, **options: Any) -> Path:
    transformers = pytest.importorskip("transformers")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.AutoConfig.for_model(family, **({**shape, **options} if family != "whisper" else options))
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    return folder


def test_waveforms_do_not_feel_what_they_are_batched_with(tmp_path: Path) -> None:
    options = {
        "conv_dim": (8,) * 7,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer",
    }
    folder = tiny(tmp_path / "w2v", "wav2vec2", **options)
    spec = SignalSpec(kind="sequence", shape=(400,))
    encoder = build("hf", "sequence", spec, model=str(folder))
    torch.manual_seed(0)
    values, offsets = torch.randn(30, 400), torch.tensor([0, 10, 30])
    together = encoder(Column(values, torch.ones(2, dtype=torch.bool), offsets).gather(torch.arange(2)))
    alone = encoder(Column(values[:10], torch.ones(1, dtype=torch.bool), torch.tensor([0, 10])).gather(torch.arange(1)))
    torch.testing.assert_close(together.pooled[0], alone.pooled[0], atol=1e-4, rtol=1e-3)
    assert together.mask.sum(1).tolist() == [12, 24]  # 4,000 and 8,000 samples, a state every 320 after the first 400


def test_the_encoder_of_whisper_pictures_and_clips(tmp_path: Path) -> None:
    shape = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    whisper = tiny(tmp_path / "wh", "whisper", d_model=16, encoder_ffn_dim=32, decoder_ffn_dim=32, vocab_size=60, **shape,
                   pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0)  # fmt: skip
    sound = Column(torch.randn(10, 400), torch.ones(1, dtype=torch.bool), torch.tensor([0, 10])).gather(torch.arange(1))
    made = build("hf", "sequence", SignalSpec(kind="sequence", shape=(400,)), model=str(whisper))(sound)
    assert made.tokens.shape == (1, 1500, 16)
    assert int(made.mask.sum()) == 13  # 4,000 samples, a state for each 320
    vit = tiny(tmp_path / "vit", "vit", image_size=32)
    assert build("hf", "grid", model=str(vit))(column("grid").gather(torch.arange(2))).pooled.shape == (2, 16)
    mae = tiny(tmp_path / "mae", "videomae", image_size=32, num_frames=4)
    assert build("hf", "clip", model=str(mae))(column("clip").gather(torch.arange(2))).pooled.shape == (2, 16)
    with pytest.raises(ConfigError, match="is for image as grid, the column is ids"):
        build("hf", "ids", model=str(vit))


def test_timm_pools_as_timm_does_and_says_what_it_wants() -> None:
    timm = pytest.importorskip("timm")
    encoder = build("timm", "grid", model="resnet10t")
    torch.manual_seed(1)
    net = timm.create_model("resnet10t", num_classes=0).eval()
    net.load_state_dict(encoder.body.state_dict())  # type: ignore[union-attr]
    signal = column("grid").gather(torch.arange(2))
    torch.testing.assert_close(encoder(signal).pooled, net(signal.values.float()))
    part = registry.load("encoders", "timm")
    wants = part.preprocessing(registry.config_of(part)(model="vit_tiny_patch16_224"))["image"]
    assert (wants["size"], wants["normalize"]) == (224, "given")
    with pytest.raises(ConfigError, match=r"unknown timm network 'resnet10x'\. Did you mean"):
        build("timm", "grid", model="resnet10x")


def test_the_tokenizer_of_a_folder_is_taken_over(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    from mmcli.modalities.text import Config, Text

    folder = tiny_bert(tmp_path / "bert")
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "red": 3, "dog": 4}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.save(str(folder / "tokenizer.json"))
    part = registry.load("encoders", "hf")
    wants = part.preprocessing(registry.config_of(part)(model=str(folder)))["text"]
    assert wants == {"tokenizer": str(folder / "tokenizer.json"), "special_tokens": True, "max_tokens": 62}
    text = Text.fit(Config(**wants), [])
    assert text.transform(["red dog"]).column.values.tolist() == [1, 3, 4, 2]
    cut = Text.fit(Config(**{**wants, "max_tokens": 3}), []).transform(["red dog red"])
    assert cut.column.values.tolist() == [1, 3, 2]  # the last token stays the last
    assert text.disagreements(wants) == []
    assert Text.fit(Config(), ["red dog"] * 9).disagreements(wants) == [
        "it was tokenised otherwise",
        "it has no special tokens around the texts",
        "up to 256 tokens are kept, not 62",
    ]
    assert json.loads((folder / "config.json").read_text())["vocab_size"] == 30


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_what_is_frozen_keeps_its_running_statistics(library: str, tmp_path: Path) -> None:
    module = pytest.importorskip(library)
    torch.manual_seed(0)
    whole = module.models.resnet18() if library == "torchvision" else module.create_model("resnet18", num_classes=0)
    safetensors.torch.save_file({n: t.clone() for n, t in whole.state_dict().items()}, tmp_path / "w.safetensors")
    encoder = build(library, "grid", model="resnet18", weights=str(tmp_path / "w.safetensors"), tune="last-1").train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    for _ in range(3):
        encoder(column("grid").gather(torch.arange(6)))
    moved = {name for name, tensor in encoder.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith("body.layer4.1.") for name in moved)
    everything = build(library, "grid", model="resnet18", weights=str(tmp_path / "w.safetensors")).train()
    assert all(own.training for own in everything.modules())


def test_what_is_frozen_drops_nothing_out(tmp_path: Path) -> None:
    encoder = build("hf", "ids", model=str(tiny_bert(tmp_path / "bert")), weights="default", tune="last-1").train()
    frozen, trains = encoder.body.encoder.layer[0], encoder.body.encoder.layer[1]  # type: ignore[union-attr, index]
    assert not any(own.training for own in frozen.modules())
    assert all(own.training for own in trains.modules())
    adapted = build("hf", "ids", model=str(tmp_path / "bert"), tune="lora", lora_rank=2).train()
    assert any(own.training for own in adapted.body.modules() if isinstance(own, nn.Dropout))


def test_packages_say_nothing_to_the_user_when_they_are_imported(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("torchao")
    packages = ("transformers", "peft", "torchao.quantization")
    code = f"from mmcli.pretrained import hub; [hub.need(name, '') for name in {packages}][0].BertModel"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
