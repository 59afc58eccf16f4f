"""What every encoder must do, whatever it is, for each kind of signal that it takes: six rows of which one is absent."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import torch
from torch import Tensor

from mmcli import registry
from mmcli.checks import Check
from mmcli.encoders import Encoder, parameter_count
from mmcli.errors import ConfigError
from mmcli.signals import Column, Features, Field, Kind, SignalSpec

ROWS, ABSENT = 6, 3
PIECES = (b"", b"", b"", b"", *(bytes([97 + i]) for i in range(20)), "南瓜灯圣诞树".encode())
SPECS: dict[Kind, SignalSpec] = {
    "grid": SignalSpec(kind="grid", shape=(3, 32, 32)),
    "ids": SignalSpec(kind="ids", shape=(), vocab_size=len(PIECES), pieces=PIECES),
    "sequence": SignalSpec(kind="sequence", shape=(5,)),
    "spectrogram": SignalSpec(kind="spectrogram", shape=(16,)),
    "vector": SignalSpec(kind="vector", shape=(5,)),
    "clip": SignalSpec(kind="clip", shape=(4, 3, 32, 32)),
    "fields": SignalSpec(kind="fields", shape=(3,), fields=(Field("a"), Field("b", 4), Field("c"))),
}
assert set(SPECS) == set(get_args(Kind))


@cache
def column(kind: Kind) -> Column:
    """Six rows; row 3 is absent, and ragged rows differ in length."""
    generator = torch.Generator().manual_seed(0)
    present = torch.arange(ROWS) != ABSENT
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


class Subject:
    """An encoder under check, for one kind of signal: builds fresh copies of it, always the same."""

    def __init__(self, name: str, kind: Kind, options: dict[str, Any]) -> None:
        self.part: type[Encoder] = registry.load("encoders", name)
        self.kind, self.label = kind, kind
        self.options = options
        self.config = registry.config_of(self.part)(**options)

    def build(self, kind: Kind | None = None, config: Any = None, seed: int = 0) -> Encoder:
        torch.manual_seed(seed)
        part: Any = self.part
        encoder: Encoder = part(config or self.config, SPECS[kind or self.kind])
        encoder.start()
        return encoder

    def features(self, encoder: Encoder, index: Tensor | None = None, fit: bool = True) -> Features:
        """What it makes of the rows, having learnt its statistics from them."""
        prepared = encoder.prepare(column(self.kind))
        if fit:
            encoder.fit(prepared)
        made = encoder(prepared.gather(torch.arange(ROWS) if index is None else index))
        assert isinstance(made, Features), f"forward gives a {type(made).__name__}, not Features"
        return made


def the_shapes_are_right(subject: Subject) -> None:
    """pooled [B, dim], tokens [B, T, dim] and a mask with a token to a row at least; absent rows stay absent."""
    encoder = subject.build().eval()
    made = subject.features(encoder)
    assert made.pooled.shape == (ROWS, encoder.dim), f"pooled is {list(made.pooled.shape)}, not [{ROWS}, {encoder.dim}]"
    tokens, mask = list(made.tokens.shape), list(made.mask.shape)
    assert tokens[0] == ROWS and tokens[2] == encoder.dim, f"tokens are {tokens}, not [{ROWS}, T, {encoder.dim}]"
    assert mask == tokens[:2], f"the mask is {mask}, the tokens are {tokens}"
    assert bool(made.mask.any(dim=1).all()), "a row has no token at all"
    assert made.present.tolist() == [row != ABSENT for row in range(ROWS)], f"present is {made.present.tolist()}"


def an_absent_cell_gets_the_learned_embedding(subject: Subject) -> None:
    """Where the cell is missing, `absent` stands as pooled features and as the only token, and nowhere else."""
    encoder = subject.build().eval()
    torch.nn.init.normal_(encoder.absent)
    made = subject.features(encoder)
    assert torch.equal(made.pooled[ABSENT], encoder.absent), "the pooled features of an absent row are not `absent`"
    token = made.tokens[ABSENT][made.mask[ABSENT]]
    assert torch.equal(token, encoder.absent[None]), "the token of an absent row is not `absent`, once"
    assert not torch.equal(made.pooled[0], encoder.absent), "a row that is there gets `absent` as well"


def padding_and_neighbours_change_nothing(subject: Subject) -> None:
    """A row alone gives what it gives in a batch, padded to the longest."""
    encoder = subject.build().eval()
    together = subject.features(encoder)
    for row in range(ROWS):
        alone = subject.features(encoder, torch.tensor([row]))
        same = torch.allclose(alone.pooled[0], together.pooled[row], atol=1e-5, rtol=1e-4)
        assert same, f"the pooled features of row {row} differ when it is alone"
        one, other = alone.tokens[0][alone.mask[0]], together.tokens[row][together.mask[row]]
        same = one.shape == other.shape and torch.allclose(one, other, atol=1e-5, rtol=1e-4)
        assert same, f"the tokens of row {row} differ when it is alone"


def gradients_reach_every_parameter(subject: Subject) -> None:
    """Training can move all of it, and no gradient is infinite."""
    encoder = subject.build().train()
    made = subject.features(encoder)
    (made.pooled.square().sum() + made.pooled.sum() + made.tokens.square().sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, f"no gradient reaches {name}"
        assert bool(parameter.grad.isfinite().all()), f"the gradient of {name} is not finite"
    learns = any(name != "absent" for name, _ in encoder.named_parameters())
    moved = not learns or any(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in encoder.parameters())
    assert moved, "every gradient is zero"


def saved_and_loaded_it_is_the_same(subject: Subject) -> None:
    """It is deterministic, and its state dict holds all that it knows."""
    encoder, other = subject.build().eval(), subject.build(seed=99).eval()
    made = subject.features(encoder)
    other.load_state_dict(encoder.state_dict())
    again = subject.features(other, fit=False)
    assert torch.equal(again.pooled, made.pooled), "a copy with the same state dict gives other pooled features"
    assert torch.equal(again.tokens, made.tokens), "a copy with the same state dict gives other tokens"


def bfloat16(subject: Subject) -> None:
    """It works under autocast, forwards and backwards."""
    encoder = subject.build().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = subject.features(encoder)
    assert bool(made.pooled.float().isfinite().all()), "the pooled features are not finite in bfloat16"
    made.pooled.float().sum().backward()


def parameters_are_as_the_formula_says(subject: Subject) -> None:
    """`parameter_formula` counts right, for every preset where it has some."""
    configs = [subject.config]
    if "preset" in type(subject.config).model_fields and subject.kind not in {"sequence", "spectrogram"}:
        # the founding networks read token ids and pictures
        configs.append(type(subject.config)(**{**subject.options, "preset": "reference"}))
    for config in configs:
        counted = parameter_count(subject.build(config=config))
        said = subject.part.parameter_formula(config, SPECS[subject.kind])
        assert counted == said, f"it has {counted:,} parameters, the formula says {said:,}"


def a_signal_it_does_not_take_is_an_error(subject: Subject) -> None:
    """A kind of signal that is not in `kinds` is refused, in words."""
    for kind in sorted(set(SPECS) - subject.part.kinds):
        try:
            subject.build(kind)
            said = ""
        except ConfigError as error:
            said = error.message
        assert said, f"it takes a {kind}, which is not in its kinds"
        wanted = f"the encoder {registry.name_of(subject.part)} takes {', '.join(sorted(subject.part.kinds))}"
        assert said == f"{wanted}, the column is a {kind}", f"a {kind} is refused with: {said}"


CHECKS: tuple[Check, ...] = (
    the_shapes_are_right,
    an_absent_cell_gets_the_learned_embedding,
    padding_and_neighbours_change_nothing,
    gradients_reach_every_parameter,
    saved_and_loaded_it_is_the_same,
    bfloat16,
    parameters_are_as_the_formula_says,
    a_signal_it_does_not_take_is_an_error,
)


def subjects(name: str, **options: Any) -> list[Subject]:
    """The architecture for each kind of signal that it takes, with default options, or with these."""
    kinds = registry.load("encoders", name).kinds
    wrong = set(kinds) - set(SPECS)
    if wrong or not kinds:
        raise ConfigError(f"{name}: kinds is {sorted(kinds)}", f"Name some of: {', '.join(SPECS)}.")
    return [Subject(name, kind, options) for kind in SPECS if kind in kinds]
