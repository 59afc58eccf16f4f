"""What the conformer computes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmcli.encoders.conformer import Config, Conformer, ConformerBlock, Halves, SharedDropout, _turned, _turns
from mmcli.errors import ConfigError
from mmcli.signals import Signal, SignalSpec

SPEC = SignalSpec(kind="spectrogram", shape=(16,))


def test_attention_depends_on_how_far_apart_steps_are_and_not_on_where() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 8)
    turns = _turns(40, 8, torch.device("cpu"))
    asked, told = (_turned(own.expand(1, 1, 40, 8), turns)[0, 0].double() for own in (query, key))
    products = asked @ told.T
    for apart in (0, 1, 7, -5):
        own = products.diagonal(apart)
        torch.testing.assert_close(own, own[:1].expand_as(own), atol=1e-5, rtol=0)
    assert abs(products[0, 1] - products[0, 7]) > 1e-3
    # at distance 0 nothing is turned
    torch.testing.assert_close(products[3, 3], (query * key).sum().double(), atol=1e-5, rtol=0)


def test_a_block_is_what_the_paper_says() -> None:
    """Equations of section 2.4, with the parts that are not its own computed by hand."""
    torch.manual_seed(0)
    block = ConformerBlock(8, 1, 3, 0.0).eval()
    x, mask = torch.randn(1, 5, 8), torch.ones(1, 5, dtype=torch.bool)
    turns = _turns(5, 8, torch.device("cpu"))
    first = x + 0.5 * block.before(x)
    q, k, v = block.qkv(block.norm_attention(first)).chunk(3, -1)
    weights = ((_turned(q, turns) @ _turned(k, turns).transpose(1, 2)) / 8**0.5).softmax(-1)
    second = first + block.out(weights @ v)
    value, gate = block.gate(block.norm_near(second)).chunk(2, -1)
    padded = F.pad(value * gate.sigmoid(), (0, 0, 1, 1))
    near = sum(padded[:, place : place + 5] * block.near.weight[:, 0, 0, place] for place in range(3)) + block.near.bias
    third = second + block.mix(F.silu(block.norm_inner(near)))
    wanted = block.norm(third + 0.5 * block.after(third))
    torch.testing.assert_close(block(x, mask, turns), wanted)


@pytest.mark.parametrize(("stride", "halves"), [(2, False), (2, True), (4, False)])
def test_a_token_stands_for_so_many_frames_and_training_sees_no_padding(stride: int, halves: bool) -> None:
    torch.manual_seed(0)
    config = Config(dim=8, heads=2, layers=1, kernel=3, channels=2, stride=stride, halves=halves, dropout=0.0)
    encoder = Conformer(config, SPEC).train()
    lengths = torch.tensor([13, 1, 8, 4])
    values = torch.randn(4, 13, 16) * (torch.arange(13) < lengths[:, None])[..., None]
    made = encoder(Signal(values, torch.ones(4, dtype=torch.bool), lengths))
    assert made.mask.sum(1).tolist() == [-(-length // stride) for length in lengths.tolist()]
    alone = encoder(Signal(values[3:, :4], torch.ones(1, dtype=torch.bool), lengths[3:]))
    torch.testing.assert_close(alone.pooled[0], made.pooled[3])
    torch.testing.assert_close(alone.tokens[0], made.tokens[3, : alone.tokens.shape[1]])


def test_halves_of_a_token_share_what_the_blocks_say_and_have_their_own_frames() -> None:
    torch.manual_seed(0)
    halves = Halves(6, 8, 3, 0.0).eval()
    tokens, own, mask = torch.randn(1, 3, 8), torch.randn(1, 5, 6), torch.ones(1, 5, dtype=torch.bool)
    made = tokens[:, [0, 0, 1, 1, 2]] + halves.narrow(own)
    value, gate = halves.gate(halves.norm_near(made)).chunk(2, -1)
    padded = F.pad(value * gate.sigmoid(), (0, 0, 1, 1))
    near = sum(padded[:, place : place + 5] * halves.near.weight[:, 0, 0, place] for place in range(3)) + halves.near.bias
    wanted = halves.norm(made + halves.mix(F.silu(halves.norm_inner(near))))
    torch.testing.assert_close(halves(tokens, own, mask), wanted)


def test_the_blocks_see_the_same_where_tokens_are_halved() -> None:
    torch.manual_seed(0)
    fine = Conformer(Config(dim=8, heads=2, layers=1, kernel=3, channels=2, stride=2, halves=True), SPEC).eval()
    coarse = Conformer(Config(dim=8, heads=2, layers=1, kernel=3, channels=2, stride=4), SPEC).eval()
    coarse.load_state_dict(fine.state_dict(), strict=False)
    signal = Signal(torch.randn(2, 13, 16), torch.ones(2, dtype=torch.bool), torch.tensor([13, 13]))
    torch.testing.assert_close(fine(signal).pooled, coarse(signal).pooled)


def test_shared_dropout_drops_a_feature_in_all_steps_of_a_row() -> None:
    torch.manual_seed(0)
    layer = SharedDropout(0.25)
    states = layer(torch.ones(50, 6, 40))
    assert (states == states[:, :1]).all()
    assert states.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert 0.2 < (states == 0).float().mean() < 0.3
    assert torch.equal(layer.eval()(states), states)


def test_widths_that_do_not_fit_are_told() -> None:
    for options in ({"dim": 10, "heads": 4}, {"kernel": 4}, {"stride": 4, "halves": True}):
        with pytest.raises(ConfigError, match=r"encoder\.conformer: "):
            Conformer(Config(**options), SPEC)  # type: ignore[arg-type]
