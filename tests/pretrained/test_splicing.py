"""The frozen part of a network run once: what was kept gives what the whole network gives, or it is not cut."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from mmcli import registry
from mmcli.checks.encoder import SPECS, column
from mmcli.encoders import Backbone
from mmcli.pretrained.splicing import Splice
from mmcli.pretrained.weights import blocks
from mmcli.signals import Column, SignalSpec
from tests.pretrained import making

SOUND = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer"}
TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("ids", {"vocab_size": 30, "max_position_embeddings": 64}),
    "roberta": ("ids", {"vocab_size": 30, "max_position_embeddings": 64, "pad_token_id": 1}),
    "mpnet": ("ids", {"vocab_size": 30, "max_position_embeddings": 64}),
    "vit": ("grid", {"image_size": 32, "patch_size": 16}),
    "dinov2": ("grid", {"image_size": 32, "patch_size": 16}),
    "videomae": ("clip", {"image_size": 32, "num_frames": 4}),
    "wav2vec2": ("sequence", SOUND),
    "wavlm": ("sequence", SOUND),
}
WAVES = SignalSpec(kind="sequence", shape=(400,))


def build(name: str, spec: SignalSpec, **options: Any) -> Backbone:
    torch.manual_seed(1)
    part = registry.load("encoders", name)
    encoder: Backbone = part(part.resolve(registry.config_of(part)(**options)), spec)
    encoder.start()
    return encoder.eval()


def of_transformers(family: str, folder: Path, tune: str, **more: Any) -> tuple[Backbone, Column]:
    kind, options = TINY[family]
    making.network(folder, family, num_hidden_layers=4, **{**options, **more})
    if kind != "sequence":
        return build("hf", SPECS[kind], model=str(folder), tune=tune), column(kind)  # type: ignore[index, arg-type]
    torch.manual_seed(0)
    present = torch.tensor([True, False, True, True])
    return build("hf", WAVES, model=str(folder), tune=tune), Column(
        torch.randn(60, 400), present, torch.tensor([0, 10, 10, 30, 60])
    )


def of_others(library: str, model: str, folder: Path, tune: str) -> tuple[Backbone, Column]:
    whole = build(library, SPECS["grid"], model=model)
    file = folder / "w.safetensors"
    safetensors.torch.save_file({n: t.clone().contiguous() for n, t in whole.body.state_dict().items()}, file)  # type: ignore[operator, union-attr]
    return build(library, SPECS["grid"], model=model, weights=str(file), tune=tune), column("grid")


def gradients(encoder: Backbone, rows: Column) -> tuple[Tensor, dict[str, Tensor]]:
    """Pooled features of all rows, and the gradients of what trains."""
    encoder.zero_grad()
    made = encoder(rows.gather(torch.arange(len(rows))))
    (made.pooled.square().sum() + (made.tokens * made.mask[..., None]).pow(3).sum()).backward()
    return made.pooled.detach(), {n: p.grad.clone() for n, p in encoder.named_parameters() if p.grad is not None}


def compare(encoder: Backbone, rows: Column, frozen: int) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    pooled, expected = gradients(encoder, rows)
    assert encoder.split(rows)
    assert encoder.splice is not None
    assert len(encoder.splice.frozen) == frozen
    calls = []
    for block in encoder.splice.frozen:
        for inner in [own for own in block.modules() if own is not block]:
            inner.register_forward_hook(lambda *_: calls.append(1))
    encoder.splice.dtype = torch.float32
    kept = encoder.keep(rows)
    assert calls
    calls.clear()
    again, found = gradients(encoder, kept)
    assert not calls  # no frozen block computes
    torch.testing.assert_close(again, pooled, atol=1e-5, rtol=1e-5)
    assert set(found) == set(expected)
    assert any(name.startswith("body.") for name in found)
    for name, own in expected.items():
        torch.testing.assert_close(found[name], own, atol=1e-5 * float(own.abs().max()) + 1e-7, rtol=1e-4)
    assert list(encoder.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    assert not encoder.varies
    encoder.join()
    assert encoder.varies
    torch.testing.assert_close(encoder(rows.gather(torch.arange(len(rows)))).pooled, pooled, atol=0, rtol=0)


@pytest.mark.parametrize("family", ["bert", "roberta", "vit", "dinov2", "videomae", "wav2vec2"])
def test_transformers_from_what_was_kept(family: str, tmp_path: Path) -> None:
    encoder, rows = of_transformers(family, tmp_path / "net", "last-1")
    assert encoder.may_split(encoder.config)
    compare(encoder, rows, frozen=3)


@pytest.mark.parametrize(
    ("library", "model", "frozen"),
    [("torchvision", "resnet18", 6), ("timm", "vit_tiny_patch16_224", 10), ("timm", "tf_efficientnet_lite0", 5)],
)
def test_networks_of_pictures_from_what_was_kept(library: str, model: str, frozen: int, tmp_path: Path) -> None:
    pytest.importorskip(library)
    compare(*of_others(library, model, tmp_path, "last-2"), frozen=frozen)


def in_training(encoder: Backbone) -> Backbone:
    """In training, without dropout where it trains, and with much of it in all that is frozen or stands before that."""
    body = encoder.body
    trained = {name for name in blocks(body) if any(own.requires_grad for own in body.get_submodule(name).parameters())}
    before, encoder.dropout.p = True, 0.0
    for name, module in encoder.body.named_modules():
        before = before and name not in trained
        if isinstance(module, nn.Dropout):
            module.p = 0.5 if before else 0.0
    return encoder.train()


@pytest.mark.parametrize("family", ["bert", "vit", "wav2vec2"])
def test_in_training_it_is_what_the_whole_network_is(family: str, tmp_path: Path) -> None:
    """Whatever the frozen part would drop out, or skip, if it trained."""
    own = {"attention_dropout": 0.0, "layerdrop": 0.9} if family == "wav2vec2" else {"attention_probs_dropout_prob": 0.0}
    encoder, rows = of_transformers(family, tmp_path / "net", "last-1", **own)
    pooled, expected = gradients(in_training(encoder), rows)
    again, same = gradients(encoder, rows)
    torch.testing.assert_close(again, pooled, atol=0, rtol=0, msg="nothing is left to chance")
    assert encoder.split(rows)
    assert encoder.training
    assert encoder.splice is not None
    encoder.splice.dtype = torch.float32
    again, found = gradients(encoder.train(), encoder.keep(rows))
    torch.testing.assert_close(again, pooled, atol=1e-5, rtol=1e-5)
    assert set(found) == set(expected) == set(same)
    for name, one in expected.items():
        torch.testing.assert_close(found[name], one, atol=1e-5 * float(one.abs().max()) + 1e-7, rtol=1e-4)
    encoder.join()
    torch.testing.assert_close(gradients(encoder.train(), rows)[0], pooled, atol=1e-6, rtol=1e-6)


def test_running_statistics_move_as_in_the_whole_network_and_stay_in_its_frozen_part(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    encoder, rows = of_others("torchvision", "resnet18", tmp_path, "last-2")
    whole = copy.deepcopy(encoder).train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    assert encoder.split(rows)
    assert encoder.splice is not None
    encoder.splice.dtype = torch.float32
    kept = encoder.keep(rows)
    encoder.train()
    for _ in range(2):
        gradients(whole, rows)
        gradients(encoder, kept)
    moved = set()
    for name, tensor in encoder.state_dict().items():
        torch.testing.assert_close(tensor, whole.state_dict()[name], atol=1e-5, rtol=1e-4)
        if not torch.equal(tensor, before[name]):
            moved.add(".".join(name.split(".")[:2]))
    assert moved == {"body.layer4"}


def test_a_copy_of_a_cut_network_is_cut_on_its_own(tmp_path: Path) -> None:
    encoder, rows = of_transformers("bert", tmp_path / "net", "last-1")
    whole = encoder(rows.gather(torch.arange(6))).pooled
    assert encoder.split(rows)
    kept = encoder.keep(rows)
    cut = encoder(kept.gather(torch.arange(6))).pooled
    twin = copy.deepcopy(encoder)
    encoder.join()
    assert twin.splice is not None
    assert twin.splice.body is twin.body
    assert torch.equal(twin(kept.gather(torch.arange(6))).pooled, cut)
    twin.join()
    assert torch.equal(twin(rows.gather(torch.arange(6))).pooled, whole)


@pytest.mark.parametrize("family", ["bert", "vit", "wav2vec2"])
def test_cut_as_another_was_no_trial_is_needed(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, rows = of_transformers(family, tmp_path / "net", "last-1")
    other = copy.deepcopy(encoder)
    assert encoder.split(rows)
    assert encoder.splice is not None
    kept, everything = encoder.keep(rows), torch.arange(len(rows))
    assert encoder.kept_bytes(rows) == kept.values.nbytes
    monkeypatch.setattr(other, "run", None)
    other.split_again(encoder.splice.cut)
    monkeypatch.undo()
    assert not other.varies
    assert other.kept_bytes(rows) == kept.values.nbytes
    assert torch.equal(other.keep(rows).values, kept.values)
    assert torch.equal(other(kept.gather(everything)).pooled, encoder(kept.gather(everything)).pooled)


def test_rows_keep_their_own_steps_in_half_the_memory(tmp_path: Path) -> None:
    encoder, rows = of_transformers("bert", tmp_path / "net", "last-2")
    assert encoder.split(rows)
    kept = encoder.keep(rows)
    assert kept.values.shape == (17, 16)
    assert kept.values.dtype == torch.float16
    assert kept.lengths is not None
    assert kept.lengths.tolist() == [4, 1, 7, 0, 2, 3]
    assert encoder.kept_bytes(rows) == 17 * 16 * 2
    alone = encoder(kept.gather(torch.tensor([2])))
    together = encoder(kept.gather(torch.arange(6)))
    torch.testing.assert_close(alone.pooled[0], together.pooled[2], atol=1e-5, rtol=1e-5)
    assert torch.equal(together.pooled[3], encoder.absent)
    empty = encoder.keep(rows.emptied())
    assert torch.equal(encoder(empty.gather(torch.arange(6))).pooled, encoder.absent.expand(6, -1))


def test_what_does_not_fit_in_float16_is_kept_in_float32(tmp_path: Path) -> None:
    encoder, rows = of_transformers("vit", tmp_path / "net", "last-1")
    with torch.no_grad():
        encoder.body.layers[0].mlp.fc2.bias.fill_(1e5)  # type: ignore[union-attr, index, operator]
    assert encoder.split(rows)
    assert encoder.keep(rows).values.dtype == torch.float32


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("family", ["mpnet", "wavlm"])
def test_a_network_whose_blocks_want_more_than_states_runs_whole(family: str, tmp_path: Path) -> None:
    """MPNet trains what its frozen blocks read too; WavLM's first block makes places for all."""
    encoder, rows = of_transformers(family, tmp_path / "net", "last-1")
    before = encoder(rows.gather(torch.arange(len(rows)))).pooled
    assert not encoder.split(rows)
    assert not encoder.may_split(encoder.config), "so that it is told before it is built"
    assert encoder.splice is None
    assert encoder.varies
    assert torch.equal(encoder(rows.gather(torch.arange(len(rows)))).pooled, before)


class Shortcut(nn.Module):
    """Its last block reads what its first gives."""

    def __init__(self, shortcut: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
        self.shortcut = shortcut
        self.layers[0].requires_grad_(False)
        self.layers[1].requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        first = self.layers[0](x)
        found: Tensor = self.layers[2](self.layers[1](first) + (first if self.shortcut else 0))
        return found


@pytest.mark.parametrize("shortcut", [False, True])
def test_it_is_tried_whether_what_is_kept_is_enough(shortcut: bool) -> None:
    torch.manual_seed(0)
    net, x = Shortcut(shortcut), torch.randn(2, 3)
    expected = net(x)
    made = Splice.made(net, lambda: [net(x)], lambda: [net(torch.zeros(2, 3))], lambda states: states)
    assert (made is None) == shortcut
    if made is not None:
        made.take_out()
    torch.testing.assert_close(net(x), expected)


class Around(nn.Module):
    """What trains works a little through its frozen blocks, and, if `twice`, behind them too."""

    def __init__(self, twice: bool) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(3))
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))
        self.twice = twice
        self.layers[0].requires_grad_(False)
        self.layers[1].requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        made = self.layers[1](self.layers[0](x + 1e-5 * self.shift))
        found: Tensor = self.layers[2](made + (1e-5 * self.shift if self.twice else 0))
        return found


@pytest.mark.parametrize("twice", [False, True])
def test_what_learns_little_through_frozen_blocks_is_not_lost(twice: bool) -> None:
    torch.manual_seed(0)
    net, x = Around(twice), torch.randn(2, 3)
    assert Splice.made(net, lambda: [net(x)], lambda: [net(torch.zeros(2, 3))], lambda states: states) is None


@pytest.fixture
def tuned(tmp_path: Path) -> Backbone:
    return of_transformers("bert", tmp_path / "net", "last-4")[0]


def test_where_all_blocks_train_nothing_is_kept(tuned: Backbone) -> None:
    assert not tuned.split(column("ids"))
    assert not tuned.split(column("ids").emptied())
