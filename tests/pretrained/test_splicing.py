"""The frozen part of a network run once: what was kept gives what the whole network gives, or it is not cut."""

from __future__ import annotations

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


def of_transformers(family: str, folder: Path, tune: str) -> tuple[Backbone, Column]:
    kind, options = TINY[family]
    making.network(folder, family, num_hidden_layers=4, **options)
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
    compare(encoder, rows, frozen=3)


@pytest.mark.parametrize(
    ("library", "model", "frozen"),
    [("torchvision", "resnet18", 6), ("timm", "vit_tiny_patch16_224", 10), ("timm", "tf_efficientnet_lite0", 5)],
)
def test_networks_of_pictures_from_what_was_kept(library: str, model: str, frozen: int, tmp_path: Path) -> None:
    pytest.importorskip(library)
    compare(*of_others(library, model, tmp_path, "last-2"), frozen=frozen)


def test_rows_keep_their_own_steps_in_half_the_memory(tmp_path: Path) -> None:
    encoder, rows = of_transformers("bert", tmp_path / "net", "last-2")
    assert encoder.split(rows)
    kept = encoder.keep(rows)
    assert kept.values.shape == (17, 16)
    assert kept.values.dtype == torch.float16
    assert kept.lengths is not None
    assert kept.lengths.tolist() == [4, 1, 7, 0, 2, 3]
    assert encoder.kept_bytes(rows) == pytest.approx(17 * 16 * 2, abs=100)
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


@pytest.fixture
def tuned(tmp_path: Path) -> Backbone:
    return of_transformers("bert", tmp_path / "net", "last-4")[0]


def test_where_all_blocks_train_nothing_is_kept(tuned: Backbone) -> None:
    assert not tuned.split(column("ids"))
    assert not tuned.split(column("ids").emptied())
