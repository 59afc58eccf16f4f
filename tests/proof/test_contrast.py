"""How often the right text is likelier than another: by hand, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from mmcli.errors import ConfigError, DataError
from mmcli.proof import contrast
from mmcli.signals import Column
from mmcli.tasks import regression
from mmcli.tasks.text import Config, Text

RIGHT = ["a", "b", "a", "b"]
TASK = Text.fit(Config(units="char"), [(text,) for text in RIGHT], ["t"])


def dataset(task: Any = TASK, **columns: list[str | None]) -> Any:
    """Four rows, the last three of which are test."""
    return SimpleNamespace(
        task=task,
        cells=[(text,) for text in RIGHT],
        splits={"test": torch.tensor([1, 2, 3])},
        groups=lambda index: None,
        frame=pd.DataFrame({"t": RIGHT, **columns}, dtype=object),
    )


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    def raw(own: Any, rows: list[int], columns: list[str]) -> Any:
        kept = [name for name in columns if name in own.frame]
        cells = {name: own.frame[name].tolist() for name in kept}
        return {name: {row: cells[name][row] for row in rows} for name in kept}, list(own.frame)

    monkeypatch.setattr(contrast, "raw_cells", raw)


def test_a_level_row_counts_half_and_what_cannot_be_written_is_beaten() -> None:
    # one step a row, of blank, a, b: the right ones are b, a, b
    shares = torch.tensor([[0.1, 0.3, 0.6], [0.2, 0.3, 0.5], [0.1, 0.6, 0.3]])
    outputs = Column(shares.log(), torch.ones(3, dtype=torch.bool), torch.arange(4))
    own = dataset(other=["x", "a", "b", "ab"], same=["x", "b", "a", "b"], wrong=["x", "x", "b", "a"])
    found = contrast.told(own, outputs, contrast.cells(own, ["other", "same", "wrong"]), 0)
    assert (found["other"]["value"], found["other"]["ties"], found["other"]["n"]) == (pytest.approx(2 / 3), 0, 3)
    assert (found["same"]["value"], found["same"]["ties"]) == (0.5, 3)
    assert found["same"]["low"] == found["same"]["high"] == 0.5
    assert found["wrong"]["value"] == pytest.approx(1 / 3)  # x is no unit; a for b, b for a are likelier
    assert found["wrong"]["low"] == 0.0 and found["wrong"]["high"] == 1.0


def test_what_is_lacking_is_named() -> None:
    with pytest.raises(ConfigError, match=r"--contrast wrogn: there is no column 'wrogn'; did you mean 'wrong'|wrogn"):
        contrast.cells(dataset(wrong=["x"] * 4), ["wrogn"])
    with pytest.raises(DataError, match=r"--contrast wrong: 2 of 3 test rows lack a text, the first: row 3") as found:
        contrast.cells(dataset(wrong=[None, "x", None, " "]), ["wrong"])
    assert "Fill them in" in str(found.value.remedy)
    numbers = regression.Regression.fit(regression.Config(), [("1",), ("2",)], ["y"])
    with pytest.raises(ConfigError, match="--contrast is for targets that are texts, not for numbers"):
        contrast.cells(dataset(numbers, wrong=["x"] * 4), ["wrong"])
    assert contrast.cells(dataset(numbers), []) == {}


def test_a_column_that_the_model_reads_is_told() -> None:
    own: Any = SimpleNamespace(input=lambda name: SimpleNamespace(members={"form": ["a", "b"]}.get(name, [name])))
    found = contrast.doubts(own, ["form", "c d"], ["b", "x", "c d"])
    assert [said.partition(":")[0] for said in found] == ["--contrast b", "--contrast c d"]
    assert "mmcli preprocess TABLE --ignore 'c d'" in found[1]
