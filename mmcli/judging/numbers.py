"""What models of numbers are held against: their mean or their quantiles, linear models, boosted trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcli.judging.baselines import Baselined, Boosted, Linear
from mmcli.judging.quantiles import Levels, Shifts
from mmcli.judging.scores import Judged
from mmcli.reporting.metrics import Array
from mmcli.vectors import solved
from mmcli.vectors.trees import Forest


class OfNumbers(Judged, Baselined):
    """A kind of target that is a number, or several, or one of which quantiles are answered."""

    quantiles: Levels | None = None
    """Where they are what is answered."""

    def constant_baseline(self, targets: Tensor, rows: int) -> Tensor:
        right, weights = self.parted(targets)
        if self.quantiles:
            own = self.quantiles.empirical(right, weights)
            return torch.cat([own, torch.zeros_like(own)]).expand(rows, -1).clone()
        if weights is None:
            return right.double().mean(0).expand(rows, -1).clone()
        return (weights.double() @ right.double() / weights.double().sum()).expand(rows, -1).clone()

    def linear_model(self, features: Any, targets: Tensor, train: Tensor, val: Tensor) -> Linear | None:
        """Ridge regression, its strength chosen among six on val by the primary metric; of quantiles linear quantile
        regression, chosen by the loss."""
        if self.quantiles:
            return self._linear_quantiles(features, targets, train, val)
        from sklearn.linear_model import Ridge

        best, best_score = None, -np.inf
        sign = 1 if self.primary_higher_is_better else -1
        right, weights = self._taught(targets[train])
        for strength in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0):
            model = Ridge(alpha=strength, solver="auto" if isinstance(features, np.ndarray) else "sparse_cg")
            model.fit(features[train.numpy()], right, sample_weight=weights)
            outputs = torch.from_numpy(np.asarray(model.predict(features)).reshape(features.shape[0], -1))
            chosen_on = val if len(val) else train
            score = sign * self.score(outputs[chosen_on], targets[chosen_on])[self.primary_metric]
            if best is None or score > best_score:
                matrix, bias = np.asarray(model.coef_).reshape(-1, features.shape[1]).T, np.ravel(model.intercept_)
                best, best_score = Linear(outputs, matrix, bias), score
        assert best is not None
        return best

    def _linear_quantiles(self, features: Any, targets: Tensor, train: Tensor, val: Tensor) -> Linear:
        """By L-BFGS (`vectors.solved`), as bags of n-grams are solved: the same model, with squared weights as the penalty."""
        from scipy.sparse import csr_matrix

        x, chosen_on = csr_matrix(features, dtype=np.float32), val if len(val) else train
        best, least = None, float("inf")
        right, weights = self._taught(targets[train])
        fits = solved.path(x[train.numpy()], right, "identity", len(self.levels), counting=weights, levels=self.levels)
        for _, matrix, bias in fits:
            outputs = self._shifted(torch.from_numpy((x @ matrix + bias).astype(np.float64)), targets, chosen_on)
            loss = self.score(outputs[chosen_on], targets[chosen_on])["loss"]
            if best is None or loss < least:
                best, least = Linear(outputs, matrix.astype(np.float64), bias.astype(np.float64)), loss
        assert best is not None
        return best

    def _shifted(self, quantiles: Tensor, targets: Tensor, index: Tensor) -> Tensor:
        """Outputs of quantiles [N, K], their shifts settled by the rows `index`."""
        assert self.quantiles is not None
        decide = Shifts(len(self.levels))
        decide.shifts.copy_(self.quantiles.shifts(quantiles[index], self.parted(targets[index])[0]))
        made: Tensor = decide(quantiles)
        return made

    def trees_model(self, features: Any, targets: Tensor, train: Tensor, val: Tensor) -> Boosted | None:
        """Histogram gradient boosting on the absolute error, one model for each target, or on the pinball loss, one for each
        quantile; its learning rate chosen on val."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        best, least = None, float("inf")
        sign = -1 if self.primary_higher_is_better and not self.levels else 1
        right, weights = self._taught(targets[train])
        each: list[dict[str, Any]] = [{"loss": "quantile", "quantile": level} for level in self.levels]
        each = each or [{"loss": "absolute_error"}] * right.shape[1]
        for rate in (0.03, 0.1):
            columns, models = [], []
            for place, loss in enumerate(each):
                model = HistGradientBoostingRegressor(
                    **loss, learning_rate=rate, max_iter=300, early_stopping=True, random_state=0
                )
                model.fit(features[train.numpy()], right[:, 0 if self.levels else place], sample_weight=weights)
                columns.append(model.predict(features))
                models.append(model)
            outputs, chosen_on = torch.from_numpy(np.stack(columns, 1)), val if len(val) else train
            outputs = self._shifted(outputs, targets, chosen_on) if self.levels else outputs
            error = sign * self.score(outputs[chosen_on], targets[chosen_on])["loss" if self.levels else self.primary_metric]
            if error < least:
                forest = Forest.of(models, [[place] for place in range(len(models))], np.zeros(len(models)))
                best, least = Boosted(outputs, forest), error
        return best

    def _taught(self, targets: Tensor) -> tuple[Array, Array | None]:
        """What scikit-learn is told of rows: float64 [N, K], and their weights where they have some."""
        right, weights = self.parted(targets)
        return right.double().numpy(), None if weights is None else weights.double().numpy()
