from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmcli.errors import DataError
from mmcli.modalities.vector import Config, Vector


def test_lists_are_standardised_by_dimension() -> None:
    fitted = Vector.fit(Config(), iter(["[1, 10]", "[3, 10]"]))
    column = fitted.transform(["[1, 10]", "[5, 11]", None]).column
    assert column.values[:2].tolist() == [[-1.0, 0.0], [3.0, 1.0]]
    assert fitted.describe().kind == "vector"


def test_sequences_keep_their_steps(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6, dtype=np.float64).reshape(3, 2))
    fitted = Vector.fit(Config(max_steps=2), iter([str(tmp_path / "a.npy"), "[[0, 1]]"]))
    encoded = fitted.transform([str(tmp_path / "a.npy"), "[[0, 1]]"])
    assert encoded.column.offsets is not None
    assert encoded.column.offsets.tolist() == [0, 2, 3]
    assert encoded.remarks == {"cut to 2 steps": 1}
    assert fitted.describe().kind == "sequence"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("[1, 2, 3]", "it holds 3 numbers, train has 2"),
        ("[1, NaN]", "not finite"),
        ("[1, 1e400]", "not finite"),
        ("[]", "not a list of numbers"),
        ("[[1, 2], [3]]", "not a list of numbers"),
        ("none.npy", "there is no such file"),
    ],
)
def test_what_is_rejected(cell: str, reason: str) -> None:
    fitted = Vector.fit(Config(), iter(["[1, 2]"]))
    assert reason in fitted.transform([cell]).rejects[0].reason


def test_objects_are_refused_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}, None], dtype=object), allow_pickle=True)  # made here, never loaded
    reject = Vector.fit(Config(), iter(["[1, 2]"])).transform([str(tmp_path / "evil.npy")]).rejects[0]
    assert "pickle" in reject.reason.lower() or "object" in reject.reason.lower()


def test_a_false_header_takes_no_memory(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (tmp_path / "huge.npy").write_bytes(data)
    assert Vector.fit(Config(), iter(["[1, 2]"])).transform([str(tmp_path / "huge.npy")]).rejects


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(DataError, match="none of the first train cells"):
        Vector.fit(Config(), iter(["x.npy"]))


def test_numpys_own_way_of_printing() -> None:
    fitted = Vector.fit(Config(), iter(["[0.5 1.5]", "[1.5 2.5]"]))
    assert torch.equal(fitted.transform(["[0.5 1.5]"]).column.values[0], torch.tensor([-1.0, -1.0]))
