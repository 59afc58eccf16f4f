"""What a task decodes of outputs, to the last digit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmcli import registry
from mmcli.exports import answers
from mmcli.exports.reading import Reader
from mmcli.tasks import Task
from mmcli.tasks.classification import Classification
from mmcli.tasks.classification import Config as Classes
from mmcli.tasks.multilabel import Config as Labels
from mmcli.tasks.multilabel import Multilabel
from mmcli.tasks.ordinal import Config as Ordered
from mmcli.tasks.ordinal import Ordinal
from mmcli.tasks.regression import Config as Numbers
from mmcli.tasks.regression import Regression
from mmcli.tasks.text import Config as Words
from mmcli.tasks.text import Text
from mmcli.text.lattice import Padded

TASKS: dict[str, Task] = {
    "two classes": Classification.fit(Classes(), [("no",), ("yes",)], ["y"]),
    "classes": Classification.fit(Classes(), [("a",), ("蓝",), ("c|d",)], ["y"]),
    "labels": Multilabel.fit(Labels(separator="|", min_count=1), [("a|b",), ("c",), ("b",), (None,)], ["y"]),
    "a number": Regression.fit(Numbers(), [("1",), ("250.5",), ("-3",)], ["y"]),
    "a number of many sizes": Regression.fit(Numbers(scale="log"), [("1",), ("1e9",), ("-30",)], ["y"]),
    "quantiles": Regression.fit(Numbers(quantiles=(0.025, 0.9)), [("1",), ("250.5",), ("-3",)], ["y"]),
    "quantiles of many sizes": Regression.fit(Numbers(quantiles=(0.1,), scale="log"), [("1",), ("1e9",), ("-30",)], ["y"]),
    "classes in order": Ordinal.fit(Ordered(order=("low", "mid", "high")), [("mid",), ("low",), ("high",)], ["y"]),
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
            "kind": registry.name_of(type(task)),
            "link": task.decision.link,
            "names": list(getattr(own, "classes", None) or getattr(own, "labels", None) or own.names),
            "state": json.loads(json.dumps(task.state())),
        },
    }
    wanted = {task.column("y", suffix): cells for suffix, cells in task.decode(outputs).items()}
    found = answers.decode(about, outputs.numpy())
    assert list(found) == list(wanted)
    for column, cells in wanted.items():
        assert all(type(one) is type(two) for one, two in zip(found[column], cells, strict=True))
        if isinstance(cells[0], str):
            assert found[column] == cells
        else:
            np.testing.assert_allclose(found[column], cells, rtol=1e-6, atol=1.1e-6)


WRITTEN = ["Über 12 Äpfel 🍎!", "café e e", "文字 と かな", "aa bb aa", "ab"]


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
def test_texts_are_those_of_the_task(kind: str, tmp_path: Path) -> None:
    task = Text.fit(Words(units=kind, vocab=300), [(text,) for text in WRITTEN * 3], ["y"])
    about = {
        "target": "y",
        "task": {
            "link": "ctc",
            "units": json.loads(json.dumps(task.units.table())),
            "state": {"config": {"beam": 4}},
            "search": {"width": 1},
        },
    }
    torch.manual_seed(0)
    values = (torch.randn(60, 12, task.width) * 3).log_softmax(-1)
    for row, text in enumerate(WRITTEN):  # texts that are read right, repeated units and blanks between them
        values[row] = values[row] - 30
        path = [unit for own in task.units.ids(text) for unit in (own, own, 0)][:12]
        values[row, torch.arange(len(path)), torch.tensor(path)] = 0.0
        values[row, len(path) :, 0] = 0.0
    lengths = torch.arange(60) % 12 + 1
    lengths[:5] = 12
    wanted = {f"y_predicted{s}": cells for s, cells in task.decode(Padded(values, lengths).ragged()).items()}
    texts = Reader(about["task"], tmp_path).texts(values.numpy(), lengths.numpy(), 1)
    found = answers.read(about, values.numpy(), lengths.numpy(), texts)
    assert list(found) == ["y_predicted", "y_predicted_confidence"]
    assert found["y_predicted"] == wanted["y_predicted"]
    np.testing.assert_allclose(found["y_predicted_confidence"], wanted["y_predicted_confidence"], atol=2e-6)
    assert kind != "char" or found["y_predicted"][4] == "ab"
