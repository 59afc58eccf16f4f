"""Linear models solved at once, against scikit-learn's, converged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, Ridge

from mmcli.vectors import solved


def rows(count: int = 80, width: int = 12) -> tuple[Any, Any, Any]:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(count, width)) * (draw.random((count, width)) < 0.5)
    truth = draw.normal(size=(width, 3))
    return features, features @ truth + draw.normal(size=(count, 3)), csr_matrix(features.astype(np.float32))


@pytest.mark.parametrize("strength", [0.3, 10.0])
def test_softmax(strength: float) -> None:
    features, scores, sparse = rows()
    right = scores.argmax(1)
    (_, weights, bias), *_ = solved.path(sparse, right, "softmax", 3, [strength])
    model = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(features, right)
    wanted, found = model.decision_function(features), features @ weights + bias
    # scikit-learn's outputs sum to zero, and so do these, whose gradient does
    np.testing.assert_allclose(found, wanted, atol=0.02 * np.abs(wanted).max())


def test_labels_and_numbers_and_the_path_between_strengths() -> None:
    features, scores, sparse = rows()
    labels = (scores > 0.5).astype(np.float64)
    for strength, weights, bias in solved.path(sparse, labels, "sigmoid", 3, [0.3, 3.0]):
        for place in range(3):
            model = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(features, labels[:, place])
            np.testing.assert_allclose(weights[:, place], model.coef_[0], atol=0.02 * np.abs(model.coef_).max())
            assert bias[place] == pytest.approx(model.intercept_[0], abs=0.03)
    for strength, weights, _ in solved.path(sparse, scores, "identity", 3, [0.1, 3.0]):
        model = Ridge(alpha=1 / strength).fit(features, scores)
        np.testing.assert_allclose(weights, model.coef_.T, atol=0.02 * np.abs(model.coef_).max())


def test_it_has_the_same_bits_each_time() -> None:
    _, scores, sparse = rows()
    one, two = ([w.tobytes() for _, w, _ in solved.path(sparse, scores.argmax(1), "softmax", 3)] for _ in range(2))
    assert one == two


def test_features_that_no_row_has_are_left_out_and_rare_ones_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    sparse = csr_matrix(np.array([[1, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1.0]], dtype=np.float32))
    assert solved.frequent(sparse, 2).tolist() == [0, 2, 3]
    monkeypatch.setattr(solved, "MOST_WEIGHTS", 4)
    assert solved.frequent(sparse, 2).tolist() == [2, 3]
