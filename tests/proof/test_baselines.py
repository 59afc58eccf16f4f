"""What baselines look at: cells as the table has them, or as they were kept; and what they are called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmcli.errors import ConfigError
from mmcli.modalities.text import Config, Text
from mmcli.options.evaluate import Options
from mmcli.proof import baselines
from mmcli.signals import Column

CELLS: list[str | None] = ["Red Cat", None, "blue dog"]
MODALITY = Text.fit(Config(), ["red cat", "blue dog"])
SPECTRA = Column(torch.randn(6, 4), torch.ones(3, dtype=torch.bool), torch.tensor([0, 2, 4, 6]))


def dataset() -> Any:
    text = SimpleNamespace(first=MODALITY, joined=False, members={"en": MODALITY}, spec=MODALITY.describe())
    sound = SimpleNamespace(first=object(), joined=False, members={"a": None}, spec=SimpleNamespace(kind="spectrogram"))
    columns = {"en": MODALITY.transform(CELLS).column, "a": SPECTRA}
    return SimpleNamespace(
        rows=pd.DataFrame({"row": [1, 2, 3]}),
        input=lambda name: {"en": text, "a": sound}[name],
        column=lambda name: columns[name],
    )


@pytest.mark.parametrize("readable", [True, False])
def test_texts_are_the_cells_of_the_table_or_what_was_kept_which_is_said(
    monkeypatch: pytest.MonkeyPatch, readable: bool
) -> None:
    table = {"en": dict(enumerate(CELLS))}
    monkeypatch.setattr(
        baselines, "raw_cells", lambda *_: (table, ["en", "a"]) if readable else (None, ["there is no file x.csv"])
    )
    notes: list[str] = []
    features = {"en": np.eye(3), "a": np.ones((3, 1))}
    found = baselines._evidence(dataset(), features, SimpleNamespace(note=notes.append))  # type: ignore[arg-type]
    assert found["en"].texts == (CELLS if readable else ["red cat", "", "blue dog"])
    assert found["en"].frames is None and found["a"].texts is None
    assert found["a"].frames is SPECTRA and found["a"].features is features["a"]
    assert notes == (
        [] if readable else ["baselines: texts as preprocess kept them, since the table cannot be read: there is no file x.csv"]
    )


def test_what_a_baseline_is_called_says_what_it_looks_at() -> None:
    assert baselines.described("nearest") == "the target of the train row whose inputs are most alike"
    assert baselines.described("nearest:sound") == "the target of the train row whose sound is most alike"
    assert baselines.described("copy:a:b") == "the text of a:b as it is"
    assert baselines.described("majority") == "always saying the commonest class of train, whatever the inputs"
    assert baselines.described("mean") == "the mean of the train targets, whatever the inputs"


@pytest.mark.parametrize(
    ("name", "read", "told"),
    [
        ("majority", [], "majority (reads no input)"),
        ("linear", ["en", "form"], "linear"),
        ("nearest", ["en", "form"], "nearest"),
        ("copy:en", ["en"], "copy:en"),
        ("nearest:form", ["form"], "nearest:form"),
        ("trees", ["form"], "trees (reads form)"),
        ("in-context", ["form"], "in-context (reads form)"),
    ],
)
def test_what_a_baseline_reads_is_told_where_it_is_not_all(name: str, read: list[str], told: str) -> None:
    kinds = {"en": "tokens", "form": "fields"}
    own: Any = SimpleNamespace(
        task=SimpleNamespace(constant_name="majority"),
        input=lambda name: SimpleNamespace(spec=SimpleNamespace(kind=kinds[name])),
    )
    assert baselines.reads(name, ["en", "form"], own) == read
    assert baselines._with_what_it_reads(name, ["en", "form"], own) == told


def test_other_texts_are_not_for_a_new_table(tmp_path: Any) -> None:
    table = tmp_path / "new.csv"
    table.write_text("a\n1\n")
    with pytest.raises(ConfigError, match=r"--contrast is not for a new table"):
        Options(new=table, contrast=("wrong",)).check()
