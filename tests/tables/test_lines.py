"""Lines of cells in each format, whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmcli.tables.lines import Lines

KINDS = {"query": str, "rank": int, "similarity": float}
LINES = [("a,b", 1, 0.5), ("=1+1", 2, -0.25)]


def written(path: Path, raw: bool = False) -> Path:
    out = Lines(path, KINDS, raw)
    out.write(LINES[:1])
    out.write([])
    out.write(LINES[1:])
    assert not path.exists()
    out.close(keep=True)
    assert out.count == 2
    assert [own.name for own in path.parent.iterdir()] == [path.name]
    return path


def test_each_format(tmp_path: Path) -> None:
    assert written(tmp_path / "1" / "h.csv").read_text() == 'query,rank,similarity\n"a,b",1,0.5\n\'=1+1,2,-0.25\n'
    assert written(tmp_path / "2" / "h.tsv", raw=True).read_text() == "query\trank\tsimilarity\na,b\t1\t0.5\n=1+1\t2\t-0.25\n"
    found = [json.loads(line) for line in written(tmp_path / "3" / "h.jsonl").read_text().splitlines()]
    assert found == [dict(zip(KINDS, line, strict=True)) for line in LINES]
    table = pq.read_table(written(tmp_path / "4" / "h.parquet"))
    assert [tuple(row.values()) for row in table.to_pylist()] == LINES


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_fails_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    out = Lines(tmp_path / f"h.{suffix}", KINDS)
    out.write(LINES)
    out.close(keep=False)
    assert not list(tmp_path.iterdir())
