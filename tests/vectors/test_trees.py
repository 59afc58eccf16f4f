"""Boosted trees as tensors decide as scikit-learn does, to the last threshold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from mmcli.models.trees import Trees
from mmcli.signals import Column, Field, SignalSpec
from mmcli.tasks.classification import Classification, Config
from mmcli.vectors.trees import Forest


def table(rows: int = 400) -> np.ndarray:
    """Numbers of float32, of which some are missing and some are whole and equal to thresholds."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(rows, 5)).astype(np.float32).astype(np.float64)
    x[:, 3] = np.round(x[:, 3])
    x[:, 4] = np.float32(0.1) + np.float32(1e-8) * draw.integers(0, 3, rows)  # neighbours among float32 numbers
    x[draw.random(x.shape) < 0.1] = np.nan
    return x


def target(x: np.ndarray) -> np.ndarray:
    here = np.nan_to_num(x)
    return (here[:, 0] + here[:, 3] > 0).astype(int) + (here[:, 1] * here[:, 0] > 0.2) + np.isnan(x[:, 2])


@pytest.mark.parametrize("classes", [2, 4])
def test_classes(classes: int) -> None:
    x = table()
    y = np.minimum(target(x), classes - 1)
    model = HistGradientBoostingClassifier(max_iter=40, early_stopping=False).fit(x, y)
    columns = [1] if classes == 2 else list(range(classes))
    forest = Forest.of([model], [columns], np.zeros(classes))
    wanted = model.decision_function(x)
    np.testing.assert_allclose(forest.decide(x)[:, columns], wanted.reshape(len(x), -1), atol=1e-4)
    assert set(forest.column.tolist()) == set(columns) and len(forest.root) == 40 * len(columns)
    check_encoder(forest, x)


def test_numbers_of_a_model_each_beside_one_another() -> None:
    x = table()
    y = np.stack([target(x) * 1.5, np.nan_to_num(x[:, 1])], 1)
    models = [HistGradientBoostingRegressor(loss="absolute_error", max_iter=20 + 10 * k).fit(x, y[:, k]) for k in (0, 1)]
    forest = Forest.of(models, [[0], [1]], np.zeros(2))
    np.testing.assert_allclose(forest.decide(x), np.stack([own.predict(x) for own in models], 1), atol=1e-4)
    check_encoder(forest, x)


def check_encoder(forest: Forest, x: np.ndarray) -> None:
    spec = SignalSpec(kind="fields", shape=(x.shape[1],), fields=tuple(Field(name) for name in "abcde"))
    encoder = Trees.of(forest, spec).eval()
    signal = Column(torch.from_numpy(x).float(), torch.ones(len(x), dtype=torch.bool)).gather(torch.arange(len(x)))
    torch.testing.assert_close(encoder(signal).pooled, torch.from_numpy(forest.decide(x)), atol=1e-5, rtol=1e-5)
    again = Trees(encoder.config, spec)
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(signal).pooled, encoder(signal).pooled, atol=0, rtol=0)
    assert sum(own.numel() for own in encoder.parameters()) == Trees.parameter_formula(encoder.config, spec)


def test_a_class_without_train_rows_is_as_good_as_impossible() -> None:
    x, names = table(), ["a", "b", "c"]
    cells = [(names[own],) for own in np.minimum(target(x), 2)]
    task = Classification.fit(Config(), cells, ["y"])
    y = torch.from_numpy(np.where(np.minimum(target(x), 2) == 1, 2, 0))
    rows = torch.arange(len(x))
    found = task.trees_model(x, y, rows, rows)
    assert found is not None
    decided = torch.from_numpy(found.forest.decide(x))
    assert float(decided[:, 1].max()) == -30.0
    torch.testing.assert_close(decided.log_softmax(1)[:, [0, 2]], found.outputs.float()[:, [0, 2]], atol=1e-4, rtol=1e-4)
