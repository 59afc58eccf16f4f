"""Which type a column has, and that cells become its values again; columns for which that cannot be said stay text."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcli.errors import DataError
from mmcli.tables import missing
from mmcli.tables.cells import as_text
from mmcli.tables.names import listed
from mmcli.tables.reading import Table, open_table
from mmcli.tables.typed import Typed, of_column
from mmcli.tables.writing import writer


def parquet(folder: Path, column: pa.Array) -> Table:
    pq.write_table(pa.table({"x": pa.array(["a"] * len(column)), "y": column}), folder / "t.parquet")
    return open_table(folder / "t.parquet")


def lines(folder: Path, values: list[Any]) -> Table:
    (folder / "t.jsonl").write_text("".join(json.dumps({"x": "a", "y": value}) + "\n" for value in values))
    return open_table(folder / "t.jsonl")


def names(table: Table) -> list[str]:
    return sorted({cell for chunk in table.chunks(columns=["y"]) for cell in chunk["y"] if cell is not None})


@pytest.mark.parametrize(
    ("column", "kind", "values"),
    [
        (pa.array([True, False, None]), "bool", [False, True]),
        (pa.array([1, -1, None], pa.int8()), "int8", [-1, 1]),
        (pa.array([2**63 + 1, 0], pa.uint64()), "uint64", [0, 2**63 + 1]),
        (pa.array([10, 9], pa.int64()).dictionary_encode(), "int64", [10, 9]),
        (pa.array([1.0, 2.0, None, float("nan")]), "double", [1.0, 2.0]),
        (pa.array([0.1, 0.5], pa.float32()), "float", [0.10000000149011612, 0.5]),
        (pa.array([0.5, float("inf")]), "", ["0.5", "inf"]),
        (pa.array(["1", "2"]), "", ["1", "2"]),
        (pa.array(["1", "2"]).dictionary_encode(), "", ["1", "2"]),
        (pa.array([Decimal("1.10"), Decimal("2.00")]), "", ["1.10", "2.00"]),
        (pa.array([date(2024, 1, 2)]), "", ["2024-01-02"]),
    ],
    ids=str,
)
def test_a_column_of_parquet(tmp_path: Path, column: pa.Array, kind: str, values: list[Any]) -> None:
    table = parquet(tmp_path, column)
    cells = names(table)
    typed = of_column(table, "y", cells)
    assert typed.kind == kind
    assert [(type(own), own) for own in typed.values(cells)] == [(type(own), own) for own in values]
    assert typed.arrow == (pa.type_for_alias(kind) if kind else None)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ([True, False, None], "bool"),
        ([1, 2, None, 1], "int64"),
        ([1.0, 2.0], "double"),
        ([1, 2, "NA", " na "], "int64"),  # which the user says are missing
        ([1, 2.0], ""),
        ([1, True], ""),
        ([1, "2"], ""),
        (["true", "false"], ""),
        ([2**70, 1], ""),  # no integer of Parquet holds it
        ([["a"], ["b"]], ""),
        ([None, None], ""),
    ],
    ids=str,
)
def test_a_column_of_json(tmp_path: Path, given: list[Any], kind: str) -> None:
    table = lines(tmp_path, given)
    table = Table(table.path, table.format, table.encoding, table.delimiter, table.reader, na=missing.spellings(["NA", "na"]))
    cells = names(table)
    typed = of_column(table, "y", cells)
    assert typed.kind == kind
    if kind:
        first = {as_text(own): own for own in given}
        assert [(type(own), own) for own in typed.values(cells)] == [(type(first[cell]), first[cell]) for cell in cells]


def test_a_csv_has_text_alone_and_a_type_is_told_only_where_it_gives_cells_back(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\na,true\nb,1\n")
    assert of_column(open_table(tmp_path / "t.csv"), "y", ["1", "true"]) == Typed()
    table = lines(tmp_path, [1, 2])
    assert of_column(table, "y", ["1", "2"]).kind == "int64"
    assert of_column(table, "y", ["1", "02"]) == Typed()  # 2 would be another name
    assert of_column(table, "y", ["1", "two"]) == Typed()


def test_words_for_missing_among_numbers_are_no_values_unless_one_is_an_answer(tmp_path: Path) -> None:
    table = lines(tmp_path, [1, "n/a", 2])
    assert of_column(table, "y", ["1", "2"]).kind == "int64"
    assert of_column(table, "y", ["1", "2", "n/a"]) == Typed()


def test_what_a_type_gives_back() -> None:
    assert Typed("int16").gives_back(["-5", "300"])
    assert not Typed("uint8").gives_back(["-5"])
    assert not Typed("int8").gives_back(["300"])
    assert not Typed("int64").gives_back(["1", "01"])  # one value, two answers
    assert not Typed("double").gives_back(["inf"])


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([["b", "a"], [], None]), "list<string>"),
        (pa.array([["b", None], ["a"]], pa.large_list(pa.large_string())), "large_list<large_string>"),
        (pa.array([[3, 1], [2]], pa.list_(pa.uint8())), "list<uint8>"),
        (pa.array([[0.5, 1.0]]), "list<double>"),
        (pa.array([["b", "a"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))), "list<string>"),
        (pa.array([[True, False]]), ""),
        (pa.array([[["a"]]]), ""),
        (pa.array(['["a"]']), ""),
    ],
    ids=str,
)
def test_lists_in_parquet(tmp_path: Path, column: pa.Array, kind: str) -> None:
    table = parquet(tmp_path, column)
    cells = [cell for chunk in table.chunks(columns=["y"]) for cell in chunk["y"] if cell is not None]
    labels = sorted({name for cell in cells for name in listed(cell) or ()})
    typed = of_column(table, "y", labels, lists=True)
    assert typed.kind == kind
    if kind:
        rows = [None if own is None else [name for name in own if name is not None] for own in column.to_pylist()]
        named = [None if own is None else json.dumps([str(name) for name in own]) for own in rows]  # as tasks answer
        assert typed.values(named) == rows
        back = pa.array(typed.values(named), typed.arrow)
        assert back.type == (pa.list_(pa.string()) if "dictionary" in str(column.type) else column.type)
    assert of_column(table, "y", labels).kind == "", "where no lists are asked about there are none"


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ([["a"], [], None, ["b", "a"]], "list<string>"),
        ([[1], [2, 1], "NA"], "list<int64>"),
        ([[1.0], [2.5]], "list<double>"),
        ([["1"], [1]], ""),
        ([[1.0, 1]], ""),
        ([["a"], "b"], ""),
        ([[True]], ""),
        ([[], []], ""),
        (['["a"]', '["b"]'], ""),
    ],
    ids=str,
)
def test_lists_in_json(tmp_path: Path, given: list[Any], kind: str) -> None:
    table = lines(tmp_path, given)
    table = Table(table.path, table.format, table.encoding, table.delimiter, table.reader, na=missing.spellings(["NA"]))
    labels = sorted({name for cell in names(table) for name in listed(cell) or ()})
    assert of_column(table, "y", labels, lists=True).kind == kind


def test_names_that_a_list_would_not_give_back() -> None:
    assert Typed("list<int64>").gives_back(["1", "-20"])
    for kind, name in (("list<int64>", "01"), ("list<int8>", "300"), ("list<double>", "1"), ("list<double>", "Infinity")):
        assert not Typed(kind).gives_back([name]), (kind, name)
    for cell in ("a", '{"a": 1}', '["one"]'):
        with pytest.raises(DataError, match="is no list<int64>"):
            Typed("list<int64>").values([cell])
    assert Typed("list<int64>").values(["[]", None, '["1"]']) == [[], None, [1]]


def test_what_is_no_value_is_refused() -> None:
    assert Typed("int64").values(["1", None, "-2"]) == [1, None, -2]
    for kind, cell in (("int64", "unsure"), ("bool", "true"), ("bool", "1")):
        with pytest.raises(DataError, match=f"the answer {cell!r} is no {kind}"):
            Typed(kind).values(["True"[: 4 * (kind == "bool")] or "1", cell])
    with pytest.raises(ValueError, match="no type 'object'"):
        Typed("object")


def test_new_columns_of_parquet_have_the_type_that_is_told_in_every_part(tmp_path: Path) -> None:
    table = parquet(tmp_path, pa.array([1, 2], pa.int8()))
    out = writer(tmp_path / "o.parquet", ".parquet", table, types={"more": Typed("int8")})
    for part in table.parts():
        out.write(part, {"more": [None, None], "other": [7, 8]})
        out.write(part, {"more": [1, -2], "other": [7, 8]})
    out.close()
    made = pq.read_table(tmp_path / "o.parquet")
    assert [str(made.schema.field(name).type) for name in ("y", "more", "other")] == ["int8", "int8", "int64"]
    assert made["more"].to_pylist() == [None, None, 1, -2]
