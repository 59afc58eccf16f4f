"""A tabular foundation model as an encoder: it says what tabicl's own module says of the same rows, view by view."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmcli.errors import ConfigError
from mmcli.layers.starting import shapes_alone
from mmcli.models.in_context import COOL, IMPOSSIBLE, VIEWS, Config, InContext, check, skeleton
from mmcli.pretrained.tabular import Network
from mmcli.signals import Field, Signal, SignalSpec

pytest.importorskip("tabicl")
from tests.pretrained.making_tables import TINY, network

ROWS, FIELDS = 30, 5
SPEC = SignalSpec(kind="fields", shape=(FIELDS,), fields=tuple(Field(name) for name in "abcde"))


def table() -> Tensor:
    """With a constant column, missing numbers, and one that is far off."""
    x = torch.randn(ROWS + 8, FIELDS, generator=torch.Generator().manual_seed(0))
    x[:, 3] = 2.0
    x[::7, 1] = float("nan")
    x[5, 0], x[-1, 0], x[-2, 0] = 40.0, -60.0, 9000.0
    return x


def signal(x: Tensor) -> Signal:
    return Signal(x, torch.ones(len(x), dtype=torch.bool))


def said_by_hand(own: Any, encoder: InContext, x: Tensor, targets: Tensor) -> Tensor:
    """[V, B, O] of rows behind the context, by the package's own preparation and module, in float32."""
    from tabicl import InferenceConfig
    from tabicl._sklearn.preprocessing import PreprocessingPipeline, TransformToNumerical, UniqueFeatureFilter

    context, rows = x[:ROWS].double().numpy(), x[ROWS:].double().numpy()
    for step in (TransformToNumerical(), UniqueFeatureFilter(), PreprocessingPipeline("none")):
        step.fit(context)
        context, rows = step.transform(context), step.transform(rows)
    both = torch.from_numpy(np.concatenate([context, rows])).float()
    how = {"device": "cpu", "use_amp": False, "use_fa3": False}
    config = InferenceConfig(COL_CONFIG=how, ROW_CONFIG=how, ICL_CONFIG=how)
    found = []
    with torch.no_grad():
        for order, labels in zip(encoder.orders, encoder.labels, strict=True):
            y = labels[targets].float() if len(labels) else targets
            found.append(own(both[None, :, order], y[None], inference_config=config)[0])
    return torch.stack(found)


def test_classes_are_those_of_the_package_by_hand() -> None:
    own, x = network(), table()
    targets = torch.arange(ROWS) % 3
    encoder = InContext.of(Network(**TINY), own.state_dict(), x[:ROWS], 2 * targets, SPEC, dim=6)
    assert encoder.kept.tolist() == [0, 1, 2, 4]
    assert len({tuple(order.tolist()) for order in encoder.orders}) > 1
    assert len({tuple(label.tolist()) for label in encoder.labels}) > 1
    by_hand = said_by_hand(own, encoder, x, targets)
    assert float(by_hand.std(0).mean()) > 0.01, "views do not differ"
    assert float(by_hand.std(1).mean()) > 0.01, "rows do not differ"
    mean = sum(said[:, label] for said, label in zip(by_hand, encoder.labels, strict=True)) / VIEWS
    pooled, tokens, mask = encoder.encode(signal(x[ROWS:]))
    torch.testing.assert_close(pooled[:, [0, 2, 4]], (mean / COOL).log_softmax(1), atol=1e-5, rtol=1e-4)
    assert (pooled[:, [1, 3, 5]] == IMPOSSIBLE).all()
    assert tokens.shape == (8, 1, 6)
    assert mask.all()
    one_by_one = torch.cat([encoder.encode(signal(row[None]))[0] for row in x[ROWS:]])
    torch.testing.assert_close(one_by_one, pooled, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("levels", [(0.5,), (0.1, 0.25, 0.5, 0.97)])
def test_numbers_are_the_quantiles_of_the_package_by_hand(levels: tuple[float, ...]) -> None:
    own, x = network(max_classes=0), table()
    targets = 5 + 3 * torch.randn(ROWS, generator=torch.Generator().manual_seed(1))
    encoder = InContext.of(
        Network(**{**TINY, "max_classes": 0}), own.state_dict(), x[:ROWS], targets, SPEC, len(levels), levels
    )
    standard = (targets - targets.mean()) / targets.std(correction=0)
    by_hand = said_by_hand(own, encoder, x, standard).sort(-1).values.mean(0).double().numpy()
    wanted = [np.interp(levels, np.arange(1, 10) / 10, row) for row in by_hand]
    found = (encoder.encode(signal(x[ROWS:]))[0].double() - targets.mean()) / targets.std(correction=0)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)


def test_what_is_known_of_the_context_decides_and_is_read_anew_where_it_changes() -> None:
    own, x, targets = network(), table(), torch.arange(ROWS) % 3
    encoder = InContext.of(Network(**TINY), own.state_dict(), x[:ROWS], targets, SPEC, dim=3)
    before = encoder.encode(signal(x[ROWS:]))[0]
    other = InContext.of(Network(**TINY), own.state_dict(), x[:ROWS], targets.flip(0), SPEC, dim=3)
    assert not torch.equal(other.encode(signal(x[ROWS:]))[0], before)
    other.load_state_dict(encoder.state_dict())
    for same in (other, copy.deepcopy(encoder), encoder.to("cpu"), encoder.train()):
        assert torch.equal(same.encode(signal(x[ROWS:]))[0], before)
    changed = encoder.state_dict() | {"targets": torch.roll(encoder.targets, 1)}
    other.load_state_dict(changed)
    assert float((other.encode(signal(x[ROWS:]))[0] - before).abs().max()) > 1e-3
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder.encode(signal(x[ROWS:]))[0], before)


def test_nothing_of_it_is_a_parameter_but_what_an_absent_form_says() -> None:
    own, x = network(), table()
    state = torch.random.get_rng_state()
    encoder = InContext.of(Network(**TINY), own.state_dict(), x[:ROWS], torch.arange(ROWS) % 3, SPEC, dim=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [name for name, _ in encoder.named_parameters()] == ["absent"]
    assert InContext.parameter_formula(encoder.config, SPEC) == 3
    kept = {name.removeprefix("network.") for name in encoder.state_dict() if name.startswith("network.")}
    assert kept == set(own.state_dict())
    assert Config.model_validate(encoder.config.model_dump()) == encoder.config


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("kept", [0, 1, 2, FIELDS], "kept holds other numbers than 0 to 4"),
        ("orders", [[0, 1, 2, -1]] * VIEWS, "orders holds other numbers than 0 to 3"),
        ("orders", [[0, 1, 2, 2]] * VIEWS, "orders does not hold each of 0 to 3 once in each view"),
        ("labels", [[0, 1, 3]] * VIEWS, "labels holds other numbers than 0 to 2"),
        ("labels", [[0, 1, 1]] * VIEWS, "labels does not hold each of 0 to 2 once"),
        ("known", [0, 2, 6], "known holds other numbers than 0 to 5"),
        ("targets", [0.0] * (ROWS - 1) + [3.0], "targets holds other numbers than 0 to 2"),
        ("targets", [0.0] * (ROWS - 1) + [float("nan")], "targets holds other numbers than 0 to 2"),
        ("targets", [0.0] * (ROWS - 1) + [0.5], "targets holds other numbers than 0 to 2"),
    ],
)
def test_a_file_that_points_beside_what_is_there_is_refused(name: str, values: Any, wanted: str) -> None:
    own, x = network(), table()
    encoder = InContext.of(Network(**TINY), own.state_dict(), x[:ROWS], 2 * (torch.arange(ROWS) % 3), SPEC, dim=6)
    weights = encoder.state_dict()
    encoder.load_state_dict(weights)
    with pytest.raises(RuntimeError, match=wanted):
        encoder.load_state_dict({**weights, name: torch.tensor(values)})


def test_what_an_artifact_tells_of_it_is_bounded() -> None:
    said: dict[str, Any] = {"dim": 3, "rows": 30, "columns": 4, "views": 4, "classes": 3, "network": TINY}
    Config.model_validate(said)
    for change, wanted in (
        ({"rows": 10_000, "columns": 100_000}, "its context has 1,000,000,000 cells, of which 20,000,000 are taken"),
        ({"classes": 5}, "it has 5 classes, and the network tells 4"),
        ({"classes": 0, "levels": (0.5,)}, "it has 0 classes, and the network tells 4"),
        ({"classes": 0, "levels": (float("nan"),), "network": {**TINY, "max_classes": 0}}, "do not lie between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=wanted):
            Config.model_validate({**said, **change})


def test_shapes_are_compared_before_there_are_numbers() -> None:
    said = Network(embed_dim=512, row_num_cls=4, icl_num_blocks=2)
    with shapes_alone():
        made = skeleton(said)
    assert {own.device.type for own in made.state_dict().values()} == {"meta"}
    with pytest.raises(ConfigError, match="the weights are not those"):
        check(said, {})
    assert all(own.device.type == "cpu" for own in skeleton(Network(**TINY)).state_dict().values())


def test_weights_of_another_network_are_refused() -> None:
    own, x = network(), table()
    said: dict[str, Any] = {**TINY, "embed_dim": 16}
    with pytest.raises(ConfigError, match=r"the weights are not those that config\.json tells of: col_embedder"):
        InContext.of(Network(**said), own.state_dict(), x[:ROWS], torch.arange(ROWS) % 3, SPEC, dim=3)
    with pytest.raises(ConfigError, match=r"tabicl builds no network of such a config\.json"):
        InContext.of(Network(**{**TINY, "col_nhead": 3}), {}, x[:ROWS], torch.arange(ROWS) % 3, SPEC, dim=3)
