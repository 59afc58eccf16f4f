"""The same small table in every form that is read, and texts in every encoding: keyed by what docs/cases.md calls them."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

NAMES = ["x", "text", "label"]
VALUES = [[0.5 * i, f"word {i}, and “more” {'très ' * (i % 3)}好", "ab"[i % 2]] for i in range(1, 13)]
RECORDS = [dict(zip(NAMES, row, strict=True)) for row in VALUES]
CELLS = [{"x": str(x), "text": text.strip(), "label": label} for x, text, label in VALUES]
"""What `chunks` makes of it, blanks at the ends aside."""


def delimited(mark: str = ",", end: str = "\n", tail: str = "", before: str = "", header_tail: str | None = None) -> str:
    def line(cells: list[Any], tail: str) -> str:
        return mark.join('"' + str(cell).replace('"', '""') + '"' for cell in cells) + tail + end

    return before + line(NAMES, tail if header_tail is None else header_tail) + "".join(line(row, tail) for row in VALUES)


def text(name: str, content: str, encoding: str = "utf-8") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content.encode(encoding))
        return path

    return make


def packed(name: str, pack: Callable[[bytes], bytes], content: str | None = None) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(pack((content or delimited()).encode()))
        return path

    return make


def zipped(**members: str) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data.csv", data)
            for name, content in members.items():
                archive.writestr(name.replace("_IN_", "/").replace("_", ".").replace("MACOSX", "__MACOSX"), content)
        return file.getvalue()

    return pack


def workbook(name: str = "data.xlsx", titles: int = 0, second: bool = False, before: int = 0) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        book = openpyxl.Workbook()
        sheet = book.active
        for _ in range(titles):
            sheet.append(["Report of 2024"])
        for row in [[*NAMES], *VALUES]:
            sheet.append([None] * before + row)
        if second:
            book.create_sheet("notes").append(["see the other sheet"])
        book.save(folder / name)
        return folder / name

    return make


def parquet(**kinds: pa.DataType) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        columns = {name: [row[place] for row in VALUES] for place, name in enumerate(NAMES)}
        arrays = {
            name: pa.array([v.encode() for v in values] if name in kinds and pa.types.is_binary(kinds[name]) else values)
            for name, values in columns.items()
        }
        table = pa.table(arrays)
        for name, kind in kinds.items():
            if not pa.types.is_binary(kind):
                table = table.set_column(NAMES.index(name), name, table[name].cast(kind))
        pq.write_table(table, folder / "data.parquet")
        return folder / "data.parquet"

    return make


_LINES = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS)
_COLUMNS = {name: [row[place] for row in VALUES] for place, name in enumerate(NAMES)}
_BY_INDEX = {name: {str(i): value for i, value in enumerate(values)} for name, values in _COLUMNS.items()}

FORMS: dict[str, Callable[[Path], Path]] = {
    "CSV with commas": text("t.csv", delimited()),
    "CSV with semicolons": text("t.csv", delimited(";")),
    "CSV with tabs": text("t.csv", delimited("\t")),
    "CSV with bars": text("t.csv", delimited("|")),
    "TSV": text("t.tsv", delimited("\t")),
    "CSV with the line ends of Windows": text("t.csv", delimited(end="\r\n")),
    "CSV with the line ends of old Macs": text("t.csv", delimited(end="\r")),
    "CSV with blank lines": text("t.csv", delimited(end="\n\n  \n")),
    "CSV with `sep=;` in its first line": text("t.csv", delimited(";", before="sep=;\n")),
    'CSV with `"sep=|"` in its first line, in UTF-16': text(
        "t.csv", delimited("|", before='"sep=|"\r\n', end="\r\n"), "utf-16"
    ),
    "CSV with a title above the header": text("t.csv", delimited(before="Report of 2024\n\n")),
    "CSV with several lines above the header, padded with delimiters": text(
        "t.csv", delimited(before="Report,,\nby: A. Author,,\n,,\n")
    ),
    "CSV with comments (`# ...`) above the header": text("t.csv", delimited(before="# exported\n# by me, with commas, here\n")),
    "CSV with a delimiter at the end of every line": text("t.csv", delimited(tail=",")),
    "CSV with several delimiters at the end of every line": text("t.csv", delimited(tail=",,,")),
    "CSV with a delimiter at the end of every row, not of the header": text("t.csv", delimited(tail=",", header_tail="")),
    "JSON Lines": text("t.jsonl", _LINES),
    "JSON Lines called `.json`": text("t.json", _LINES),
    "a JSON array of objects": text("t.json", json.dumps(RECORDS)),
    "a JSON array of objects, indented": text("t.json", json.dumps(RECORDS, indent=2, ensure_ascii=False)),
    "a JSON array of objects called `.jsonl`": text("t.jsonl", json.dumps(RECORDS)),
    "a JSON object of columns": text("t.json", json.dumps(_COLUMNS)),
    "a JSON object of columns by index (pandas)": text("t.json", json.dumps(_BY_INDEX)),
    "a JSON object of rows by index (pandas)": text("t.json", json.dumps({str(i): row for i, row in enumerate(RECORDS)})),
    "a JSON object of columns and data (pandas, `split`)": text("t.json", json.dumps({"columns": NAMES, "data": VALUES})),
    "a JSON object around an array of objects": text("t.json", json.dumps({"status": "ok", "rows": RECORDS}, indent=1)),
    "Parquet": parquet(),
    "Parquet with categories": parquet(label=pa.dictionary(pa.int8(), pa.string())),
    "Parquet with text as bytes": parquet(text=pa.binary()),
    "Excel (`.xlsx`)": workbook(),
    "Excel with a title above the header": workbook(titles=2),
    "Excel with several sheets, the first of which is read": workbook(second=True),
    "Excel with empty columns before the table": workbook(before=2),
    "`.csv.gz`": packed("t.csv.gz", gzip.compress),
    "`.csv.bz2`": packed("t.csv.bz2", bz2.compress),
    "`.csv.xz`": packed("t.csv.xz", lzma.compress),
    "`.jsonl.gz`": packed("t.jsonl.gz", gzip.compress, _LINES),
    "`.zip` with one table in it": packed("t.zip", zipped()),
    "`.zip` with one table, and files that are none": packed("t.zip", zipped(readme_md="see data", MACOSX_IN_data_csv="x")),
    "a file in `gzip` that is called `.csv`": packed("t.csv", gzip.compress),
    "a workbook that is called `.csv`": workbook("t.csv"),
}

REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "old Excel (`.xls`)": (packed("t.xls", lambda _: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)), "save it as .xlsx"),
    "OpenDocument (`.ods`)": (
        packed("t.ods", zipped(mimetype="application/vnd.oasis", content_xml="<x/>")),
        "save it as .xlsx",
    ),
    "Feather, Stata, SPSS, SAS, HDF5": (packed("t.dta", lambda _: b"\x71\x00"), "DataFrame.to_parquet"),
    "pickles": (packed("t.pkl", lambda _: b"\x80\x04K\x01."), "Load it where you trust it"),
    "SQLite": (packed("t.sqlite", lambda _: b"SQLite format 3\x00"), "Export the table"),
    "`.zip` with several tables": (packed("t.zip", zipped(other_csv="a,b\n1,2\n")), "Unpack it"),
    "`.7z`, `.zst`, `.tar`": (packed("t.csv.zst", lambda _: b"\x28\xb5\x2f\xfd"), "Unpack it first"),
    "an archive that is cut short": (packed("t.csv.gz", lambda data: gzip.compress(data)[:-20]), "damaged, cut short"),
    "a JSON object that is no table": (text("t.json", '{"name": "x", "config": {"a": 1}}'), "Give an array of objects"),
    "a JSON array that is cut short": (text("t.json", json.dumps(RECORDS)[:-20]), "cut short"),
    "a header that names one of two columns, both of words": (
        text("t.csv", "label\nr1,a\nr2,b\n"),
        "names of the columns in a line",
    ),
    "title lines, and no header below them": (text("t.csv", "Report\n\n1,2,3\n4,5,6\n"), "names of the columns in a line"),
}

_WESTERN = "id,texte\n1,déjà vu à l'été\n2,crème brûlée et garçon\n3,Straße in Köln\n"
_WINDOWS = "id,texte\n1,“déjà vu” – l’été\n2,crème brûlée à 5 €\n"
_CHINESE = "编号,描述\n1,南瓜灯和万圣节\n2,圣诞树很漂亮\n"
_JAPANESE = "番号,説明\n1,かぼちゃのランタンとハロウィン\n2,クリスマスツリー\n"
_RUSSIAN = "номер,описание\n1,тыква и хэллоуин\n2,ёлка на рождество\n"

ENCODINGS: dict[str, tuple[str, str]] = {
    "UTF-8": ("utf-8", _CHINESE),
    "UTF-8 with a byte-order mark": ("utf-8-sig", _CHINESE),
    "UTF-16 with a byte-order mark": ("utf-16", _CHINESE),
    "UTF-16 without, little-endian": ("utf-16-le", _CHINESE),
    "UTF-16 without, big-endian": ("utf-16-be", _WESTERN),
    "UTF-32 without a mark": ("utf-32-le", _WESTERN),
    "GB18030, GBK, GB2312 (Chinese)": ("gb18030", _CHINESE),
    "GB18030 with rare characters": ("gb18030", "名字,地\n璐璐,颍州\n瑜,瑕疵\n"),
    "Big5 (Chinese in traditional characters)": ("big5", "編號,描述\n1,南瓜燈和萬聖節\n2,聖誕樹\n"),
    "Shift-JIS (Japanese)": ("cp932", _JAPANESE),
    "Shift-JIS with half-width kana": ("cp932", "ｺｰﾄﾞ,商品\nｱｲｳ,東京都新宿区の住所\nｶｷｸ,テスト\n"),
    "EUC-JP (Japanese)": ("euc_jp", _JAPANESE),
    "EUC-KR (Korean)": ("euc_kr", "번호,설명\n1,호박등과 할로윈\n2,크리스마스 트리\n"),
    "Latin-1 (Western Europe)": ("latin-1", _WESTERN),
    "Latin-1 (Northern Europe)": ("latin-1", "på,navn\nblåbærsyltetøy,Ærø\n"),
    "Windows-1252 (Western Europe)": ("cp1252", _WINDOWS),
    "Windows-1250 (Polish)": ("cp1250", "id,tekst\n1,Zażółć gęślą jaźń\n2,Łódź i Kraków\n"),
    "Windows-1250 (Czech)": ("cp1250", "jméno,město\nŘehoř,Plzeň\nJiří,České Budějovice\n"),
    "Windows-1251 (Cyrillic)": ("cp1251", _RUSSIAN),
    "KOI8-R (Cyrillic)": ("koi8_r", _RUSSIAN),
    "Windows-1253 (Greek)": ("cp1253", "όνομα,πόλη\nΓιώργος,Αθήνα\nΜαρία,Θεσσαλονίκη\n"),
    "Windows-1254 (Turkish)": ("cp1254", "ad,şehir\nAyşe,İstanbul\nMehmet,Eskişehir\n"),
    "Windows-1255 (Hebrew)": ("cp1255", "שם,עיר\nדוד,תל אביב\nשרה,ירושלים\n"),
    "Windows-1256 (Arabic)": ("cp1256", "الاسم,المدينة\nمحمد,القاهرة\nفاطمة,الرياض\n"),
    "Windows-874 (Thai)": ("cp874", "ชื่อ,เมือง\nสมชาย,กรุงเทพ\nสมหญิง,เชียงใหม่\n"),
    "Mac Roman": ("mac_roman", "id,texte\n1,déjà vu à l’été\n2,crème brûlée et garçon\n"),
    "the old code page of DOS (850)": ("cp850", "Name;Ort\nMüller;Köln\nGroß;Düsseldorf\n"),
}
