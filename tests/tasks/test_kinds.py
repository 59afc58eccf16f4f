"""What tasks say they are, and what comes of it; answers that are no numbers go wherever numbers go."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from mmcli.artifacts import tensors
from mmcli.errors import ConfigError
from mmcli.jobs import encoder as encoder_job
from mmcli.jobs import fusion as fusion_job
from mmcli.models import conformal
from mmcli.models.networks import AveragedHeads, FusionHead
from mmcli.models.recipe import build_fusion, build_head
from mmcli.signals import Decision, Features, Fused
from mmcli.tasks import Ability
from mmcli.training.config import TrainingConfig
from mmcli.training.device import Compute
from mmcli.vectors.numbers import NUMBERS
from tests.tasks.test_contract import NAMES, fitted
from tests.tasks.toys import Counting, Recognising, Spelling, Written

CPU = Compute(torch.device("cpu"), "float32")
WHAT_LACKS: dict[str, set[str]] = {
    "classification": {"known texts"},
    "ordinal": {"known texts"},
    "multilabel": {"known texts", "calibration by class", "McNemar's test", "doubtful targets"},
    "regression": {"known texts", "calibration", "calibration by class", "McNemar's test", "doubtful targets"},
    "match": {"known texts", "calibration by class", "plain member"},
    "text": set(get_args(Ability)) - {"distillation", "known texts"},
    "identify": set(get_args(Ability)) - {"linear baseline"},
    "contrastive": set(get_args(Ability)) - {"linear baseline"},
}


@pytest.mark.parametrize("name", NAMES)
def test_what_a_task_lacks(name: str) -> None:
    task = fitted(name)
    assert {ability for ability in get_args(Ability) if task.lacks(ability)} == WHAT_LACKS[name]


@pytest.mark.parametrize("task", [Spelling(), Recognising()])
def test_what_is_made_for_decisions_is_lacking_where_there_are_none(task: Any) -> None:
    answers = "texts" if type(task) is Spelling else "vectors to compare"
    for ability in get_args(Ability):
        assert task.lacks(ability) == f"it is made for classes, labels and numbers, and these answers are {answers}"
    assert conformal.fit(task, torch.zeros(50, 2), torch.zeros(50), 0.9) == {}


@pytest.mark.parametrize(
    ("task", "method", "said"),
    [
        (Spelling(), "late", "late fuses decisions: such targets go with methods of token"),
        (Spelling(), "concat", "concat fuses features: such targets go with methods of token"),
        (Recognising(), "late", "late fuses decisions: such targets go with methods of feature and token"),
    ],
)
def test_a_method_whose_family_does_not_fit_is_refused(task: Any, method: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        build_fusion(method, {}, {"a": 4, "b": 4}, task)
    assert "mmcli list fusions" in str(error.value.remedy)
    assert build_fusion("transformer", {}, {"a": 4, "b": 4}, task).family == "token"


class _Numbers(Recognising):
    """Vectors to compare, as wide as two numbers."""

    @property
    def decision(self) -> Decision:
        return Decision(2, "identity")


def test_decisions_are_put_beside_features_only_where_there_are_some() -> None:
    own = ("concat", {}, {"a": 4, "b": 4}, {"a": "a", "b": "b"})
    with_them = build_head(*own, fitted("classification"), {"name": "linear", "config": {}}, decisions=True)
    assert with_them.decisions is not None
    without = build_head(*own, _Numbers(), {"name": "linear", "config": {}}, decisions=True)
    assert without.decisions is None


def test_features_are_swapped_only_where_they_may_be() -> None:
    torch.manual_seed(0)
    targets = torch.randint(3, (60,))
    outputs = torch.eye(3)[targets] * 9
    outputs[30:] = torch.randn(30, 3)
    features = Features(torch.zeros(60, 1), torch.zeros(60, 1, 1), torch.ones(60, 1).bool(), torch.ones(60).bool(), outputs)
    splits = {"train": torch.arange(30), "val": torch.arange(30, 60)}
    task = fitted("classification")
    dataset: Any = SimpleNamespace(task=task, targets=targets, splits=splits)
    assert fusion_job.swap_share(features, dataset) > 0.5
    task.features_may_be_swapped = False
    assert fusion_job.swap_share(features, dataset) == 0


def test_rows_that_are_compared_are_not_mixed(tmp_path: Path) -> None:
    column = SimpleNamespace(spec=SimpleNamespace(kind="grid"), varies=False)
    dataset: Any = SimpleNamespace(task=Recognising(), input=lambda _: column)
    network: Any = SimpleNamespace(encoder=SimpleNamespace(varies=True))
    config = TrainingConfig(mix="mixup")
    with pytest.raises(ConfigError, match="compares rows with one another, so none can be half another"):
        encoder_job.job("x", network, None, dataset, config, CPU, seed=0, folder=tmp_path, label="x")  # type: ignore[arg-type]


def text_of(written: Written, row: int) -> list[int]:
    return written.ids.select(torch.tensor([row])).values.tolist()


class _First(torch.nn.Module):
    """A fusion that hands on the features of its one column, their likelihood changed by so much."""

    family, dim = "feature", 3

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = torch.tensor([0.0, 0.0, shift])

    def forward(self, features: Any) -> Fused:
        return Fused(features["a"].pooled + self.shift)

    remembered = forward

    def penalty(self, fused: Fused, targets: Tensor) -> None: ...


def test_texts_go_through_networks_averages_and_files(tmp_path: Path) -> None:
    """Of 600 rows, more than one batch: lengths, letters and likelihoods are known."""
    rows, task = torch.arange(600), Spelling()
    pooled = torch.stack([rows % 4, rows % 7, torch.ones(600)], 1).float()
    features = {"a": Features(pooled, pooled[:, None], torch.ones(600, 1).bool(), torch.ones(600).bool())}

    def heads(shift: float) -> FusionHead:
        return FusionHead(_First(shift), Counting(task, 3), {"a": 3}, {"a": "a"})  # type: ignore[arg-type]

    made = fusion_job.answers(AveragedHeads([heads(0.5), heads(0)], [0.5, 0.5]), features, CPU)
    assert [text_of(made.outputs, row) for row in (0, 1, 6, 599)] == [[], [1], [6, 6], [4, 4, 4]]
    assert torch.allclose(made.outputs.log_probability, torch.full((600,), -1.0))  # of the likelier of the two
    tensors.save(tmp_path / "x.safetensors", made.save())
    again = task.outputs.load(tensors.load(tmp_path / "x.safetensors"))
    some = task.outputs.gather(again, torch.tensor([599, 6]))
    assert [text_of(some, row) for row in (0, 1)] == [[4, 4, 4], [6, 6]]
    assert task.score(again, rows % 4) == {"exact": 1.0, "loss": 0.0}
    assert task.decode(some) == {"": ["444", "66"]}
    assert task.intervals(again, rows % 4)["exact"].value == 1.0


def test_numbers_are_averaged_by_shares_and_kept_in_float32() -> None:
    one, two = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 6.0]])
    assert NUMBERS.mean([one, two], torch.tensor([0.25, 0.75])).tolist() == [[2.5, 5.0]]
    assert NUMBERS.plain(one.half().requires_grad_()).dtype == torch.float32
    assert NUMBERS.tempered(two, torch.tensor(3.0)).tolist() == [[1.0, 2.0]]
    assert NUMBERS.load(NUMBERS.save(one, "majority"), "majority") is one
    assert torch.equal(NUMBERS.join([one, two]), torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
