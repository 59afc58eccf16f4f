"""What models of classes, of which a row has one, are held against: linear models and boosted trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcli.errors import DataError, did_you_mean
from mmcli.judging.baselines import Baselined, Boosted, Linear
from mmcli.judging.scores import Judged
from mmcli.reporting.metrics import Array
from mmcli.tables.names import tidy
from mmcli.vectors.trees import Forest


class OfClasses(Judged, Baselined):
    """A kind of target that is one of some classes, whose outputs are logits."""

    classes: list[str]
    """Their names; of classes in order from the lowest on."""

    @property
    def answers(self) -> Sequence[str]:
        return self.classes

    def encode(self, cells: Sequence[Sequence[str | None]]) -> Tensor:
        """Places of classes, int64 [N].

        Raises:
            DataError: one is not among them.
        """
        index = {name: i for i, name in enumerate(self.classes)}
        targets = [tidy(str(cell)) for (cell,) in cells]
        missing = sorted(set(targets) - set(index))
        if missing:
            raise DataError(
                f"the class {missing[0]!r} is absent from the train split. {did_you_mean(missing[0], index)}",
                "Move rows of it to train, or drop them.",
            )
        return torch.tensor([index[name] for name in targets], dtype=torch.int64)

    def linear_model(self, features: Any, targets: Tensor, train: Tensor, val: Tensor) -> Linear | None:
        """Multinomial logistic regression, its regularisation chosen among four on val by the primary metric, then the loss."""
        from sklearn.linear_model import LogisticRegression

        best, best_score = None, (0.0, 0.0)
        sign = 1 if self.primary_higher_is_better else -1
        right, weights = self.parted(targets[train])[0].numpy(), self._sample_weight(targets[train])
        for strength in (0.3, 3.0, 30.0, 300.0):
            model = LogisticRegression(C=strength, max_iter=300, tol=1e-3)
            model.fit(features[train.numpy()], right, sample_weight=weights)
            outputs = torch.full((features.shape[0], self.decision.width), -30.0, dtype=torch.float64)
            shares = torch.from_numpy(model.predict_proba(features)).clamp(min=1e-13)
            outputs[:, torch.from_numpy(model.classes_)] = shares.log()
            chosen_on = val if len(val) else train
            score = self.score(outputs[chosen_on], targets[chosen_on])
            rank = (sign * score[self.primary_metric], -score["loss"])
            if best is None or rank > best_score:
                best, best_score = Linear(outputs, *self._all_classes(model)), rank
        assert best is not None
        return best

    def _all_classes(self, model: Any) -> tuple[Array, Array]:
        """Weights [F, C] and bias [C] of a fitted logistic regression, which has one row of two classes, and none of classes
        that no train row has: these are as good as impossible."""
        own, bias = model.coef_, model.intercept_
        if len(own) == 1:  # the log-odds of the second of two classes
            own, bias = np.concatenate([np.zeros_like(own), own]), np.concatenate([np.zeros_like(bias), bias])
        weights, every = np.zeros((own.shape[1], self.decision.width)), np.full(self.decision.width, -30.0)
        weights[:, model.classes_], every[model.classes_] = own.T, bias
        return weights, every

    def trees_model(self, features: Any, targets: Tensor, train: Tensor, val: Tensor) -> Boosted | None:
        """Histogram gradient boosting, its learning rate chosen on val by the log loss, rounds by early stopping on a tenth."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        best, least = None, float("inf")
        right, weights = self.parted(targets[train])[0].numpy(), self._sample_weight(targets[train])
        for rate in (0.03, 0.1):
            model = HistGradientBoostingClassifier(learning_rate=rate, max_iter=300, early_stopping=True, random_state=0)
            try:
                model.fit(features[train.numpy()], right, sample_weight=weights)
            except ValueError:  # a class with one row cannot be held out
                model.set_params(early_stopping=False, max_iter=100)
                model.fit(features[train.numpy()], right, sample_weight=weights)
            outputs = torch.full((len(features), self.decision.width), -30.0, dtype=torch.float64)
            outputs[:, torch.from_numpy(model.classes_)] = (
                torch.from_numpy(model.predict_proba(features)).clamp(min=1e-13).log()
            )
            chosen_on = val if len(val) else train
            loss = self.score(outputs[chosen_on], targets[chosen_on])["loss"]
            if loss < least:
                best, least = Boosted(outputs, self._forest(model)), loss
        return best

    def _forest(self, model: Any) -> Forest:
        """The trees of fitted boosting, which of two classes tells the second; classes that no train row has are impossible."""
        known = [int(own) for own in model.classes_]
        bias = np.full(self.decision.width, -30.0)
        bias[known] = 0.0
        return Forest.of([model], [known if len(known) > 2 else known[1:]], bias)

    def _sample_weight(self, targets: Tensor) -> Array | None:
        """What scikit-learn is told of rows; None where all count alike."""
        found = self.pressing(targets)
        return None if found is None else found.double().numpy()
