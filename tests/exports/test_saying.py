"""Files of words with their times: lines of JSON, and subtitles, which take their name when they are whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmcli.errors import ConfigError
from mmcli.exports.saying import Words
from mmcli.text.words import Timed

ROWS = [[Timed("one", 0.0, 0.04, 0.9)], [Timed("two", None, None, 0.8)], []]


def test_lines_of_json_take_their_name_when_they_are_whole(tmp_path: Path) -> None:
    words = Words(tmp_path / "w.json")
    words.write(ROWS[:1])
    assert not (tmp_path / "w.json").exists()
    words.write(ROWS[1:])
    words.close(keep=True)
    lines = [json.loads(line) for line in (tmp_path / "w.json").read_text().splitlines()]
    assert [line["row"] for line in lines] == [1, 2, 3]
    assert lines[2]["words"] == []
    assert (words.without, words.first) == (1, 2)
    assert words.remark == "1 row has no sound: words are read off another column there and have no times, the first: row 2"
    again = Words(tmp_path / "x.json")
    again.write(ROWS)
    again.close(keep=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.json"]


def test_a_folder_has_a_file_of_each_row_and_one_file_is_of_one_row(tmp_path: Path) -> None:
    words = Words(tmp_path / "subtitles")
    words.write(ROWS)
    words.close(keep=True)
    files = sorted((tmp_path / "subtitles").iterdir())
    assert [path.name for path in files] == ["000001.srt", "000002.srt", "000003.srt"]
    assert files[0].read_text() == "1\n00:00:00,000 --> 00:00:00,040\none\n\n"
    assert files[1].read_text() == ""
    one = Words(tmp_path / "one.srt")
    one.write(ROWS[:1])
    one.close(keep=True)
    assert (tmp_path / "one.srt").read_text() == files[0].read_text()
    several = Words(tmp_path / "several.srt")
    with pytest.raises(ConfigError, match="more than one row"):
        several.write(ROWS)
    several.close(keep=False)
    assert not list(tmp_path.glob("*several*"))
