"""The columns' own decisions beside F: weighed and taken in by val alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mmcli.jobs import deciding
from mmcli.models import plain
from mmcli.models.networks import AveragedHeads, FusionHead
from mmcli.models.recipe import build_head
from mmcli.signals import Features
from mmcli.tasks import Task
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as ClassConfig
from mmcli.tasks.multilabel import Config as LabelConfig
from mmcli.tasks.multilabel import Multilabel
from mmcli.tasks.regression import Config as NumberConfig
from mmcli.tasks.regression import Regression

N = 200


def of_classes() -> tuple[Task, Tensor, Tensor]:
    """A task, targets, and the outputs of a column that knows them."""
    right = torch.randint(3, (N,), generator=torch.Generator().manual_seed(0))
    task = Classification.fit(ClassConfig(), [(str(own),) for own in right.tolist()], ["y"])
    return task, right, torch.eye(3)[right] * 2


def of_labels() -> tuple[Task, Tensor, Tensor]:
    right = (torch.rand(N, 3, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    cells = [("|".join(str(place) for place in range(3) if own[place]),) for own in right.tolist()]
    task = Multilabel.fit(LabelConfig(separator="|"), cells, ["y"])
    return task, right, (right * 2 - 1) * 2


def of_numbers() -> tuple[Task, Tensor, Tensor]:
    right = torch.randn(N, 1, generator=torch.Generator().manual_seed(0))
    task = Regression.fit(NumberConfig(), [(str(own),) for (own,) in right.tolist()], ["y"])
    return task, right, right.clone()


def features(task: Task, good: Tensor) -> dict[str, Features]:
    """A column that knows, but for noise, and is missing in a tenth of the rows; and one that knows nothing."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for name, own in (("knows", good + torch.randn(good.shape, generator=generator)), ("guesses", torch.randn(good.shape))):
        present = torch.rand(N, generator=generator) > 0.1 if name == "knows" else torch.ones(N, dtype=torch.bool)
        pooled = torch.zeros(N, 4)
        outputs = task.decision_head()(own)
        found[name] = Features(pooled, pooled[:, None], torch.ones(N, 1, dtype=torch.bool), present, outputs)
    return found


def member(task: Task) -> FusionHead:
    dims = {"knows": 4, "guesses": 4}
    return build_head(deciding.METHOD, deciding.OPTIONS, dims, {name: name for name in dims}, task, {})


@pytest.mark.parametrize("made", [of_classes, of_labels, of_numbers], ids=lambda own: own.__name__)
def test_where_f_has_learnt_nothing_its_columns_decide(made: object) -> None:
    task, right, good = made()  # type: ignore[operator]
    torch.manual_seed(2)
    given, own, val = features(task, good), member(task), torch.arange(0, N, 2)
    nothing = task.decision_head()(torch.randn(good.shape))
    found = deciding.weigh(own, given, nothing, val, right, task, 0)
    assert found is not None
    assert found.share >= 0.75
    assert found.gain > 0
    preference = own.fusion.get_parameter("preference").detach()
    assert float(preference[0]) > float(preference[1])
    # The rows that did not choose are better off too.
    rest, plain = torch.arange(1, N, 2), task.outputs
    outputs = own({name: column.float() for name, column in given.items()}).outputs.detach()
    assert task.score(plain.gather(outputs, rest), right[rest])["loss"] < task.score(nothing[rest], right[rest])["loss"]


@pytest.mark.parametrize("made", [of_classes, of_labels, of_numbers], ids=lambda own: own.__name__)
def test_where_f_knows_more_nothing_is_put_beside_it(made: object) -> None:
    task, right, good = made()  # type: ignore[operator]
    torch.manual_seed(2)
    knows = task.decision_head()(good * (2 if task.decision.link != "identity" else 1))
    assert deciding.weigh(member(task), features(task, good), knows, torch.arange(N), right, task, 0) is None


def test_few_val_rows_show_nothing() -> None:
    task, right, good = of_classes()
    nothing = torch.zeros(N, 3)
    assert deciding.weigh(member(task), features(task, good), nothing, torch.arange(30), right, task, 0) is None


def test_the_shares_sum_to_one_and_f_is_divided_by_its_temperature() -> None:
    own = deciding.Beside(0.25, 2.0, 0.1)
    assert deciding.shares([1 / 3] * 3, own) == pytest.approx([0.25, 0.25, 0.25, 0.25])
    assert deciding.shares([0.3, 0.3, 0.4], deciding.Beside(0.5, 1.0, 0.1)) == pytest.approx([0.15, 0.15, 0.2, 0.5])
    task, _, good = of_classes()
    one, two = member(task), member(task)
    one.temperature.fill_(own.temperature)
    given = {name: column.float() for name, column in features(task, good).items()}
    mean = AveragedHeads([one, two], [0.75, 0.25])(given).outputs
    torch.testing.assert_close(mean, 0.75 * two(given).outputs / 2 + 0.25 * two(given).outputs)


def known(task: Task, good: Tensor) -> tuple[FusionHead, dict[str, Features]]:
    """A member that is solved: the sum of two terms, of which one is what is right, made too certain."""
    terms = {"right": good * (20 if task.decision.link != "identity" else 1), "nothing": torch.zeros_like(good)}
    own = plain.build(dict.fromkeys(terms, good.shape[1]), {name: name for name in terms}, task)
    here = torch.ones(N, dtype=torch.bool)
    return own, {name: Features(term, term[:, None], here[:, None], here) for name, term in terms.items()}


@pytest.mark.parametrize("made", [of_classes, of_labels, of_numbers], ids=lambda own: own.__name__)
def test_a_known_member_is_taken_where_f_has_learnt_nothing_and_only_its_temperature_is_set(made: object) -> None:
    task, right, good = made()  # type: ignore[operator]
    noisy = good + (1.5 if task.decision.link != "identity" else 0.5) * torch.randn(
        good.shape, generator=torch.Generator().manual_seed(3)
    )
    own, terms = known(task, noisy)
    before = {name: tensor.clone() for name, tensor in own.state_dict().items() if name != "temperature"}
    nothing = task.decision_head()(torch.randn(good.shape, generator=torch.Generator().manual_seed(2)))
    found = deciding.weigh_known(own, terms, nothing, torch.arange(0, N, 2), right, task, 0)
    assert found is not None and found.share >= 0.75
    assert float(own.temperature) == 1.0 if task.decision.link == "identity" else float(own.temperature) > 1.2
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items() if name != "temperature")


@pytest.mark.parametrize("made", [of_classes, of_labels, of_numbers], ids=lambda own: own.__name__)
def test_a_known_member_is_not_taken_where_f_knows_as_much(made: object) -> None:
    task, right, good = made()  # type: ignore[operator]
    own, terms = known(task, good + torch.randn(good.shape, generator=torch.Generator().manual_seed(3)))
    knows = task.decision_head()(good * (2 if task.decision.link != "identity" else 1))
    assert deciding.weigh_known(own, terms, knows, torch.arange(N), right, task, 0) is None
    assert deciding.weigh_known(own, terms, task.decision_head()(good * 0), torch.arange(30), right, task, 0) is None


def test_terms_as_wide_as_the_decision_add_up_with_what_stands_for_an_absent_input() -> None:
    task, _, good = of_classes()
    own, terms = known(task, good)
    with torch.no_grad():
        own.absent[0].copy_(torch.tensor([5.0, 0.0, 1.0]))
        own.fusion.get_parameter("bias").copy_(torch.tensor([1.0, 2.0, 3.0]))
    gone = {**terms, "right": replace(terms["right"], present=torch.zeros(N, dtype=torch.bool))}
    torch.testing.assert_close(own(gone).outputs, torch.tensor([6.0, 2.0, 4.0]).expand(N, 3))
    torch.testing.assert_close(own(terms).outputs, good * 20 + torch.tensor([1.0, 2.0, 3.0]))
    assert sum(tensor.numel() for tensor in own.fusion.parameters()) == plain.Sum.parameter_formula(None, {"right": 3})
    assert not own.reads_outputs
    with pytest.raises(ValueError, match=r"are as wide, not \[2, 3\]"):
        plain.build({"a": 2, "b": 3}, {"a": "a", "b": "b"}, task)


def test_what_is_told_is_put_as_it_was_weighed() -> None:
    task, right, good = of_classes()
    given, own, other = features(task, good), member(task), member(task)
    found = deciding.weigh(own, given, torch.randn(good.shape), torch.arange(N), right, task, 0)
    assert found is not None
    preference = own.fusion.get_parameter("preference").detach().tolist()
    told = deciding.Told(found.share, found.temperature, float(own.temperature), preference)
    put = told.put(other)
    assert (put.share, put.temperature) == (found.share, found.temperature)
    rows = {name: column.float() for name, column in given.items()}
    torch.testing.assert_close(other.eval()(rows).outputs, own.eval()(rows).outputs)
