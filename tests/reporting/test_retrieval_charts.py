"""Curves of errors lie within their axes, by the coordinates that are drawn."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import ndtri

from mmcli.reporting import charts, retrieval_charts, verification
from mmcli.reporting.retrieval_metrics import Verification
from mmcli.reporting.svg import Figure

Line = list[tuple[float, float]]


def lines(figure: Figure) -> list[Line]:
    """Of each line its points, as shares of the axes from their lower left corner."""
    return [
        [(float(x) / 1000, 1 - float(y) / figure.height) for x, y in (point.split(",") for point in drawn.split())]
        for drawn in re.findall(r'<polyline [^>]*points="([^"]*)"', figure.body)
    ]


def dots(figure: Figure) -> Line:
    found = re.findall(r'<circle [^>]*cx="([-\d.]+)%" cy="([-\d.]+)"', figure.body)
    return [(float(x) / 100, 1 - float(y) / figure.height) for x, y in found]


def of_columns(far: list[float], frr: list[float], equal: float) -> Figure:
    return charts.det(np.array(far), np.array(frr), equal)


def test_axes_of_columns_end_at_all_and_the_curve_at_their_edges() -> None:
    # Half of the smallest rates, 1/8 and 1/4, to 1: log2 16 and log2 8 steps.
    figure = of_columns([0, 0.125, 0.5, 0.5, 1], [0.75, 0.5, 0.25, 0, 0], 0.375)
    (line,) = lines(figure)
    wanted = [(0, 1), (0, 1 + np.log2(0.75) / 3), (0.25, 2 / 3), (0.75, 1 / 3), (0.75, 0), (1, 0)]
    assert np.allclose(line, wanted, atol=0.001)
    assert dots(figure) == [pytest.approx((1 + np.log2(0.375) / 4, 1 + np.log2(0.375) / 3), abs=0.001)]
    said = re.findall(r">([\d.]+)</text>", figure.body)
    assert {"0.1", "1"} <= set(said) and max(map(float, said)) == 1, "no rate is above all"


def test_errors_that_none_makes_are_on_the_edge() -> None:
    perfect = of_columns([0, 0.5, 1], [0, 0, 0], 0.0)
    assert lines(perfect) == [[(0, 1), (0, 0), (0.5, 0), (1, 0)]] and dots(perfect) == [(0, 0)]
    nothing = of_columns([float("nan")] * 2, [0.5, 0.0], float("nan"))
    assert dots(nothing) == [] and lines(nothing) == [[(0, 1)]]


def test_the_curve_of_identities_goes_from_edge_to_edge() -> None:
    far, frr = np.array([0, 0.0001, 0.02, 0.3, 0.9, 1]), np.array([0.9, 0.5, 0.1, 0.01, 0, 0])
    figure = retrieval_charts._det(far, frr, 0.05)
    low, high = ndtri(0.0005), ndtri(0.75)
    place = (ndtri([0.02, 0.5, 0.1, 0.3, 0.01, 0.05]) - low) / (high - low)
    line, diagonal = lines(figure)
    wanted = [(0, 1), (0, place[1]), (place[0], place[2]), (place[3], place[4]), (1, 0)]
    assert np.allclose(line, wanted, atol=0.003) and diagonal == [(0, 0), (1, 1)]
    assert dots(figure) == [pytest.approx((place[5], place[5]), abs=0.003)]
    assert dots(retrieval_charts._det(far, frr, 0.0)) == [(0, 0)]


@pytest.mark.parametrize("apart", [-6.0, 0.0, 1.0, 6.0])
@pytest.mark.parametrize("rows", [4, 12, 200])
def test_no_point_leaves_the_axes(rows: int, apart: float) -> None:
    generator, ones = np.random.default_rng(rows), np.ones((1, rows))
    targets = np.arange(rows) % 2
    scores = (generator.normal(size=rows) + apart * targets)[:, None]
    _, far, tar = verification.roc(scores, targets, ones)
    of_pairs = charts.det(far[0], 1 - tar[0], float(verification.eer(scores, targets, ones)[0]))
    vectors = generator.normal(size=(rows, 6)) + apart * np.eye(6)[np.arange(rows) % 2]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    drawn = retrieval_charts.of_pairs(Verification.of_vectors(vectors, np.arange(rows) % 2))
    for figure in (of_pairs, drawn["det"][0]):
        (curve, *_), points = lines(figure), dots(figure)
        assert len(points) == 1 and curve[0] == (0, 1) and curve[-1][0] == 1 and curve[-1][1] == 0
        assert all(-1e-9 <= share <= 1 + 1e-9 for point in [*curve, *points] for share in point)
        assert all(x <= other_x and y >= other_y for (x, y), (other_x, other_y) in pairwise(curve))
