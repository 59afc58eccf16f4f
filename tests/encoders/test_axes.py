"""TF-IDF on its principal axes: what train rows have in common lies near, and the axes are those of scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix

from mmcli.encoders.axes import Axes, Config
from mmcli.modalities.text import Config as TextConfig
from mmcli.modalities.text import Text

TEXTS = ["red bike", "red bikes", "a blue car", "blue cars", "tall tree", "tall trees", None, "red bus"]


def made(**options: int) -> tuple[Axes, torch.Tensor]:
    modality = Text.fit(TextConfig(), [text for text in TEXTS if text])
    column = modality.transform(TEXTS).column
    encoder = Axes(Config(**{"dim": 4, "buckets": 4096, **options}), modality.describe()).eval()
    prepared = encoder.prepare(column)
    encoder.fit(prepared.select(torch.arange(6)))
    with torch.no_grad():
        return encoder, encoder(prepared.gather(torch.arange(len(TEXTS)))).pooled


def test_texts_with_words_and_letters_in_common_lie_near() -> None:
    _, pooled = made()
    unit = torch.nn.functional.normalize(pooled, dim=1)
    alike = unit @ unit.T
    for one, other in ((0, 1), (2, 3), (4, 5)):
        assert int(alike[one].index_fill(0, torch.tensor([one, 6]), -1.0).argmax()) == other
    assert bool((pooled[6] == 0).all())  # the absent embedding


def test_projected_rows_keep_the_products_of_whole_ones() -> None:
    encoder, pooled = made(dim=5)
    whole = encoder.prepare(Text.fit(TextConfig(), [text for text in TEXTS if text]).transform(TEXTS).column)
    signal = whole.gather(torch.arange(6))
    weights, held = encoder._weights(signal).numpy(), signal.mask().numpy()
    counted = csr_matrix((weights[held], (np.nonzero(held)[0], signal.values.numpy()[held])), shape=(6, 4096)).toarray()
    left, sizes, _ = np.linalg.svd(counted, full_matrices=False)
    wanted = (left[:, :5] * sizes[:5]) @ (left[:, :5] * sizes[:5]).T  # of rank five
    assert np.allclose(pooled[:6] @ pooled[:6].T, wanted, atol=1e-4)


def test_fewer_rows_than_axes_leave_the_others_zero() -> None:
    encoder, pooled = made(dim=32)
    assert bool((pooled[:, 5:] == 0).all()) and bool(pooled[0, :5].any())
    assert sum(own.numel() for own in encoder.parameters()) == 32
