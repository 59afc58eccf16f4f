from __future__ import annotations

import base64
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcli.tables.cells import as_text, is_text, surrogate
from mmcli.tables.reading import open_table

PNG = b"\x89PNG\r\n\x1a\n\x00\x00"
ENCODED = base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, None),
        (float("nan"), None),
        ("  ", None),
        (" a ", " a "),
        (7, "7"),
        (2**60 + 1, "1152921504606846977"),
        (0.1, "0.1"),
        (True, "True"),
        (Decimal("1E+2"), "100"),
        (Decimal("1.10"), "1.10"),
        (date(2024, 1, 2), "2024-01-02"),
        (datetime(2024, 1, 2, 3), "2024-01-02 03:00:00"),
        (timedelta(minutes=1, milliseconds=500), "60.5"),
        (timedelta(hours=1), "3600"),
        (PNG, f"data:;base64,{ENCODED}"),
        ({"bytes": PNG, "path": "a/b c;.png"}, f"data:;name=b%20c%3B.png;base64,{ENCODED}"),
        ({"bytes": PNG, "path": None}, f"data:;base64,{ENCODED}"),
        ({"bytes": None, "path": "x.png"}, "x.png"),
        ({"bytes": None, "path": None}, None),
        ({"bytes": 3, "path": "x"}, '{"bytes": 3, "path": "x"}'),
        ([{"bytes": PNG, "path": "x.png"}], f'["data:;name=x.png;base64,{ENCODED}"]'),
        ({"d": date(2024, 1, 2), "t": datetime(2024, 1, 2, 3)}, '{"d": "2024-01-02", "t": "2024-01-02T03:00:00"}'),
        ([time(4)], '["04:00:00"]'),
        ([Decimal("1.10"), None, PNG], f'["1.10", null, "{ENCODED}"]'),
        ([("k", timedelta(seconds=2))], '[["k", "2"]]'),
        ({1: UUID(int=1)}, '{"1": "00000000-0000-0000-0000-000000000001"}'),
        ([np.float32(0.5), np.arange(2)], "[0.5, [0, 1]]"),
        (["好"], '["好"]'),
    ],
)  # fmt: skip
def test_a_value_as_text(value: object, cell: str | None) -> None:
    assert as_text(value) == cell


def test_bytes_are_text_only_if_they_are_utf8_without_controls() -> None:
    assert is_text("naïve\t好\r\n".encode())
    assert not is_text("naïve".encode("latin-1"))
    assert not is_text(b"a\x00b")
    assert surrogate("cut \ud83d") == "\\ud83d"
    assert surrogate("whole 😀") == ""


def test_columns_of_bytes(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": pa.array([b"one", "zwei ü".encode(), None]),
            "media": pa.array([b"broken", PNG, PNG]),  # as a whole no text, so its damaged cell is none
            "large": pa.array([PNG, None, PNG], pa.large_binary()),
            "fixed": pa.array([b"\xff\x00", b"ab", b"\xff\x01"], pa.binary(2)),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    frame = open_table(tmp_path / "t.parquet").head(5)
    assert frame["text"].tolist() == ["one", "zwei ü", None]
    assert frame["media"].tolist() == ["data:;base64,YnJva2Vu", *[f"data:;base64,{ENCODED}"] * 2]
    assert frame["large"].tolist() == [f"data:;base64,{ENCODED}", None, f"data:;base64,{ENCODED}"]
    assert frame["fixed"].tolist()[1] == "data:;base64,YWI="


def test_nanoseconds_and_long_durations_lose_nothing(tmp_path: Path) -> None:
    table = pa.table({"t": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")), "d": pa.array([1], pa.duration("s"))})
    pq.write_table(table, tmp_path / "t.parquet")
    assert open_table(tmp_path / "t.parquet").head(1).iloc[0].tolist() == ["2023-11-14 22:13:20.123456789", "1"]
