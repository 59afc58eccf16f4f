"""Columns that belong together: directions, metrics by hand, baselines, what predict writes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmcli.errors import DataError
from mmcli.tasks import Evidence
from mmcli.tasks.contrastive import Config, Contrastive
from mmcli.vectors.aligned import Aligned


def task(**kinds: str) -> Contrastive:
    return Contrastive(Config(), kinds or {"image": "image", "tags": "text"})


def found(*cosines: float) -> Aligned:
    """Four rows, each at an angle of its own in column one; those of column two at these angles."""
    own = torch.tensor([0.0, 1.0, 2.0, 3.0])
    other = torch.tensor(cosines)
    values = torch.stack([torch.stack([own.cos(), own.sin()], 1), torch.stack([other.cos(), other.sin()], 1)], 1)
    return Aligned(values, torch.ones(4, 2, dtype=torch.bool), torch.ones(2, dtype=torch.bool))


APART = torch.tensor([[row, 2 * row, 2 * row + 1] for row in range(4)])


def test_directions_are_all_ordered_pairs_and_those_of_kinds_joined() -> None:
    own = task(image="image", fill="image", name="text", tags="text", size="tabular")
    assert len(own.directions) == 20
    joined = [str(each) for each in own.joined_directions]
    assert "name+tags->image" in joined and "image->name+tags" in joined
    assert "image+fill->name+tags" in joined and "name+tags->image+fill" in joined
    assert "name+tags->size" in joined and len(joined) == len(set(joined)) == 14
    assert task().joined_directions == []


def test_metrics_of_ranks_are_as_by_hand() -> None:
    own, outputs = task(), found(0.1, 1.1, 3.1, 2.1)  # rows 2 and 3 have each other's
    told = own.retrieval(outputs, APART)
    assert set(told) == {"image->tags", "tags->image"}
    forth = told["image->tags"]
    assert forth["gallery"] == 4
    assert forth["recall_at_1"]["value"] == 0.5
    assert forth["recall_at_5"]["value"] == forth["recall_at_10"]["value"] == 1.0
    # Row 2 at 2.0 has 3.1; nearer are 2.1 and 1.1: rank 3. Row 3 at 3.0 has 2.1; nearer is 3.1: rank 2.
    assert forth["mrr"]["value"] == pytest.approx((1 + 1 + 1 / 3 + 1 / 2) / 4)
    assert forth["ndcg"]["value"] == pytest.approx((2 + 1 / np.log2(4) + 1 / np.log2(3)) / 4)
    both = [own.retrieval(outputs, APART)[name]["mrr"]["value"] for name in told]
    score = own.score(outputs, APART)
    assert score["mrr"] == pytest.approx(sum(both) / 2)
    assert score["recall_at_10"] == 1.0
    assert own.intervals(outputs, APART)["mrr"].value == pytest.approx(score["mrr"])


def test_recalls_are_told_one_after_the_other() -> None:
    found_so = task().intervals(found(0.1, 1.1, 3.1, 2.1), APART, more=True)  # what tables show, in their order
    assert list(found_so) == list(task().all_metrics) == ["mrr", "recall_at_1", "recall_at_5", "recall_at_10", "ndcg"]


def test_groups_are_drawn_whole_and_rows_of_a_slice_look_among_all() -> None:
    own, outputs = task(), found(0.1, 1.1, 3.1, 2.1)
    one = own.within(outputs, APART, torch.tensor([2, 3]))["mrr"]
    ranks = own.readings(outputs, APART)[0][2:, 1:]
    assert one.value == pytest.approx(float((1 / ranks).mean()))
    alone = own.retrieval(outputs, APART, groups=np.array([0, 0, 1, 1]))["image->tags"]["recall_at_1"]
    assert (alone["low"], alone["high"]) == (0.0, 1.0)


def test_columns_that_are_not_asked_about_are_left_out() -> None:
    own = task(a="text", b="text", c="text")
    values = F.normalize(torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0)), dim=2)
    asked = Aligned(values, torch.ones(6, 3, dtype=torch.bool), torch.tensor([True, False, False]))
    rows = torch.arange(6)[:, None].repeat(1, 4)
    ranks = own.readings(asked, rows)[0][:, 1:]
    kept = [
        str(direction) for direction, own_ranks in zip(own.directions, ranks.T, strict=True) if not np.isnan(own_ranks).all()
    ]
    assert kept == ["a->b", "a->c", "b->a", "c->a"]


def test_predict_writes_how_alike_columns_are_and_their_vectors() -> None:
    own, outputs = task(), found(0.1, 1.1, 3.1, 2.1)
    lacking = Aligned(
        outputs.values * torch.tensor([[[1.0], [1.0]]] * 3 + [[[1.0], [0.0]]]),
        torch.tensor([[True, True]] * 3 + [[True, False]]),
        outputs.asked,
    )
    told = own.decode(lacking)
    assert told["_image_tags"][:2] == pytest.approx([np.cos(0.1), np.cos(0.1)], abs=1e-5)
    assert told[""][3] is None and told["_image_tags"][3] is None
    vectors = own.embeddings(lacking)
    assert vectors["image"][0] == pytest.approx([1.0, 0.0]) and vectors["tags"][3] is None


def test_baselines_find_what_is_linear() -> None:
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(120, 5, generator=generator)
    views = {name: (common @ torch.randn(5, 9, generator=generator)).double().numpy() for name in ("image", "tags")}
    own = task()
    rows = torch.stack([torch.arange(120)] * 3, 1)
    train, val, test = torch.arange(80), torch.arange(80, 100), torch.arange(100, 120)
    outputs = own.more_baselines({name: Evidence(view) for name, view in views.items()}, rows, train, val)
    scores = {name: own.score(own.outputs.gather(each, test), rows[test])["mrr"] for name, each in outputs.items()}
    assert scores["linear"] > 0.9
    chance = own.score(own.outputs.gather(own.constant_baseline(rows, 120), test), rows[test])["mrr"]
    assert chance < 0.4
    assert "cosine" in scores


def test_the_worst_rows_stand_beside_what_was_found_instead() -> None:
    own, outputs = task(), found(0.1, 1.1, 3.1, 2.1)
    (row, other, said), *_ = own.worst_pairs(outputs, APART, 4)
    assert (row, other) == (2, 3)
    assert said.startswith("image to tags: its own comes 3. of 4")


def test_one_column_belongs_to_nothing() -> None:
    with pytest.raises(DataError, match="there is one input, image"):
        task().over({"image": "image"})


def test_a_row_with_the_same_cell_is_no_wrong_answer() -> None:
    """The likest other row has the same picture as the one that asks: what is shown is the next, which is wrong."""
    own, outputs = task(), found(0.1, 1.1, 3.1, 2.1)
    same = APART.clone()
    same[3, 1] = same[2, 1]
    assert all((row, other) != (2, 3) for row, other, _ in own.worst_pairs(outputs, same, 8))
