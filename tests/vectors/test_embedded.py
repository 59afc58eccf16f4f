"""Embeddings as outputs: side by side for several models, half precision on disk, looked up among the enrolled."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.vectors.embedded import Embedded, Vectors

KIND = Vectors()


def made(seed: int, rows: int = 5, width: int = 4) -> Embedded:
    torch.manual_seed(seed)
    values, gallery = F.normalize(torch.randn(rows, width), dim=1), F.normalize(torch.randn(6, width), dim=1)
    return Embedded(values, gallery, torch.tensor([0, 0, 1, 1, 2, -1]), torch.tensor(0.25))


def test_several_models_stand_side_by_side_and_their_similarities_are_averaged() -> None:
    one, other, shares = made(0), made(1), torch.tensor([0.25, 0.75])
    both = KIND.mean([one, other], shares)
    assert both.values.shape == (5, 8)
    torch.testing.assert_close(both.values.norm(dim=1), torch.ones(5))
    wanted = 0.25 * one.values @ one.gallery.T + 0.75 * other.values @ other.gallery.T
    torch.testing.assert_close(both.values @ both.gallery.T, wanted)


def test_it_survives_the_disk_in_half_precision() -> None:
    own = made(2)
    saved = KIND.save(own)
    assert saved["outputs"].dtype == torch.float16
    again = KIND.load(saved)
    torch.testing.assert_close(again.values, own.values, atol=1e-3, rtol=0)
    torch.testing.assert_close(again.values.norm(dim=1), torch.ones(5))
    assert again.identities.tolist() == own.identities.tolist()


def test_rows_are_gathered_and_joined_with_one_gallery() -> None:
    own = made(3)
    halves = [KIND.gather(own, torch.tensor([0, 1])), KIND.gather(own, torch.tensor([2, 3, 4]))]
    joined = KIND.join(halves)
    assert torch.equal(joined.values, own.values)
    assert joined.gallery is own.gallery


def test_the_best_of_each_identity_counts() -> None:
    gallery = torch.tensor([[1.0, 0], [0.6, 0.8], [0, 1.0]])
    own = Embedded(torch.tensor([[1.0, 0], [0.8, 0.6]]), gallery, torch.tensor([7, 7, 3]), torch.zeros(()))
    best, names = own.by_identity()
    assert names.tolist() == [3, 7]
    torch.testing.assert_close(best, torch.tensor([[0.0, 1.0], [0.6, 0.96]]))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("outputs", torch.zeros(3)),
        ("outputs", torch.zeros(3, 5)),
        ("outputs", torch.zeros(3, 4, dtype=torch.int64)),
        ("outputs.gallery", torch.zeros(2, 5)),
        ("outputs.identities", torch.zeros(3, dtype=torch.int64)),
        ("outputs.identities", torch.zeros(2)),
        ("outputs.threshold", torch.zeros(2)),
    ],
)
def test_what_does_not_fit_together_is_refused(name: str, other: Tensor) -> None:
    whole = Embedded(torch.eye(4)[:3], torch.eye(4)[:2], torch.tensor([0, 1]), torch.tensor(0.5))
    saved = KIND.save(whole)
    assert torch.equal(KIND.load(saved).values, whole.values)
    with pytest.raises(ValueError, match=r"of shape|identities"):
        KIND.load({**saved, name: other})
