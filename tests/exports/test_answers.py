"""What a task decodes of outputs, to the last digit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from mmcli.exports import answers
from mmcli.tasks import Task
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as Classes
from mmcli.tasks.multilabel import Config as Labels
from mmcli.tasks.multilabel import Multilabel
from mmcli.tasks.regression import Config as Numbers
from mmcli.tasks.regression import Regression

TASKS: dict[str, Task] = {
    "two classes": Classification.fit(Classes(), [("no",), ("yes",)], ["y"]),
    "classes": Classification.fit(Classes(), [("a",), ("蓝",), ("c|d",)], ["y"]),
    "labels": Multilabel.fit(Labels(separator="|", min_count=1), [("a|b",), ("c",), ("b",), (None,)], ["y"]),
    "a number": Regression.fit(Numbers(), [("1",), ("250.5",), ("-3",)], ["y"]),
    "a number of many sizes": Regression.fit(Numbers(scale="log"), [("1",), ("1e9",), ("-30",)], ["y"]),
    "numbers": Regression.fit(Numbers(), [("1", "5e-9"), ("2", "7e-9"), ("4", "1e-9")], ["y", "z"]),
}


@pytest.mark.parametrize("name", TASKS)
def test_answers_are_those_of_the_task(name: str) -> None:
    task = TASKS[name]
    outputs = torch.randn(50, task.num_outputs, generator=torch.Generator().manual_seed(0)) * 5
    outputs[0], outputs[1], outputs[2] = 0.0, 800.0, -800.0  # ties, and what exp alone would not survive
    own: Any = task
    about = {
        "target": "y",
        "task": {
            "link": task.decision.link,
            "names": list(getattr(own, "classes", None) or getattr(own, "labels", None) or own.names),
            "state": json.loads(json.dumps(task.state())),
        },
    }
    wanted = {f"y_predicted{suffix}": cells for suffix, cells in task.decode(outputs).items()}
    found = answers.decode(about, outputs.numpy())
    assert list(found) == list(wanted)
    for column, cells in wanted.items():
        assert all(type(one) is type(two) for one, two in zip(found[column], cells, strict=True))
        if isinstance(cells[0], str):
            assert found[column] == cells
        else:
            np.testing.assert_allclose(found[column], cells, rtol=1e-6, atol=1.1e-6)
