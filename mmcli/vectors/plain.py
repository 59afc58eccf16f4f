"""Vectors of columns with little or nothing learnt: as they are, where they are of one kind; or along what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcli.vectors import together
from mmcli.vectors.aligned import Aligned

AXES = 256
"""Principal axes that are kept of features."""
LETTERS = 512
"""The same of texts."""
MOST_ROWS = 5000
"""Train rows that directions are looked for in: all, or so many drawn at random."""
Texts = Sequence[str | None] | None


def reduced(features: Any, train: Tensor) -> Tensor:
    """float32 [N, AXES] of features [N, F], dense or sparse, along the principal axes of the train rows; zeros where these are
    fewer."""
    if hasattr(features, "toarray"):
        from sklearn.decomposition import TruncatedSVD

        axes = max(min(AXES, features.shape[1] - 1, len(train) - 1), 1)
        model = TruncatedSVD(axes, random_state=0).fit(features[train.numpy()])
        made = torch.from_numpy(np.asarray(model.transform(features)))
    else:
        dense = torch.from_numpy(np.asarray(features)).double()
        mean = dense[train].mean(0)
        _, _, axes_PF = torch.linalg.svd(dense[some(train)] - mean, full_matrices=False)
        made = (dense - mean) @ axes_PF[:AXES].T
    return F.pad(made.float(), (0, AXES - made.shape[1]))


def some(train: Tensor) -> Tensor:
    """Those of the train rows that directions are looked for in, always the same."""
    if len(train) <= MOST_ROWS:
        return train
    return train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:MOST_ROWS]].sort().values


def linear(
    blocks: Mapping[str, Tensor],
    known_NK: Tensor,
    columns: Sequence[str],
    train: Tensor,
    worth: Callable[[Aligned], tuple[float, float]],
) -> Aligned:
    """Vectors of all rows along what train rows' features [N, F] have in common, each column in a space of its own: those that
    are `worth` most."""
    present = {name: known_NK[:, 1 + columns.index(name)] >= 0 for name in blocks}
    index = some(train)
    views = [together.View(own[index], present[name][index], place) for place, (name, own) in enumerate(blocks.items())]
    best = _put(blocks, known_NK, columns)
    most = worth(best)
    for found in together.candidates(views, 128):
        made = {
            name: (own.double() - found.centres[place]) @ found.directions[place]
            for place, (name, own) in enumerate(blocks.items())
        }
        outputs = _put({name: own.float() for name, own in made.items()}, known_NK, columns)
        if (value := worth(outputs)) > most:
            best, most = outputs, value
    return best


def alike(inputs: Mapping[str, tuple[Any, Texts]], known_NK: Tensor, columns: Sequence[str], train: Tensor) -> Aligned | None:
    """Vectors of columns of one kind as they are: features of one width, or texts by TF-IDF of their letters; those of two
    kinds have nothing in common. None where no two are of one kind."""
    texts = {name: own for name, (_, own) in inputs.items() if own is not None}
    widths = {name: own.shape[1] for name, (own, _) in inputs.items() if isinstance(own, np.ndarray)}
    kinds = [[name for name, own in widths.items() if own == width] for width in dict.fromkeys(widths.values())]
    kinds = [own for own in (list(texts), *kinds) if len(own) > 1]
    if not kinds:
        return None
    blocks = []
    for names in kinds:
        if names[0] in texts:
            blocks.append(_letters({name: texts[name] for name in names}, train))
            continue
        centred = {name: torch.from_numpy(inputs[name][0]).float() for name in names}
        blocks.append({name: own - own[train].mean(0) for name, own in centred.items()})
    total, start, made = sum(next(iter(block.values())).shape[1] for block in blocks), 0, dict[str, Tensor]()
    for block in blocks:
        width = next(iter(block.values())).shape[1]
        made |= {name: F.pad(own, (start, total - start - width)) for name, own in block.items()}
        start += width
    return _put(made, known_NK, columns)


def _letters(texts: Mapping[str, Sequence[str | None]], train: Tensor) -> dict[str, Tensor]:
    """Texts by TF-IDF of runs of one to three letters, on their first principal axes."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    model = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3), sublinear_tf=True)
    taught = model.fit_transform([own[row] or "" for own in texts.values() for row in train.tolist()])
    axes = TruncatedSVD(max(min(LETTERS, min(taught.shape) - 1), 1), random_state=0).fit(taught)
    return {
        name: torch.from_numpy(axes.transform(model.transform([cell or "" for cell in own]))).float()
        for name, own in texts.items()
    }


def _put(made: Mapping[str, Tensor], known_NK: Tensor, columns: Sequence[str]) -> Aligned:
    """Unit vectors at their columns' places; zero where a cell is absent, or nothing is made of a column."""
    zero, here = torch.zeros_like(next(iter(made.values()))), known_NK[:, 1:] >= 0
    values = torch.stack([F.normalize(made.get(name, zero), dim=1) for name in columns], 1)
    return Aligned(values * here[..., None], here, torch.ones(len(columns), dtype=torch.bool))
