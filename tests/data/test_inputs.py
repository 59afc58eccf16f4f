from __future__ import annotations

import torch

from mmcli.data.inputs import Input, group
from mmcli.modalities.audio import Audio
from mmcli.modalities.audio import Config as AudioConfig
from mmcli.modalities.category import Category
from mmcli.modalities.category import Config as CategoryConfig
from mmcli.modalities.date import Config as DateConfig
from mmcli.modalities.date import Date
from mmcli.modalities.image import Config as ImageConfig
from mmcli.modalities.image import Image
from mmcli.modalities.number import Config as NumberConfig
from mmcli.modalities.number import Number
from mmcli.modalities.text import Config as TextConfig
from mmcli.modalities.text import Text


def test_numbers_and_categories_are_one_input_unless_each_is_wanted() -> None:
    kinds = {"photo": False, "age": True, "note": False, "town": True}
    columns = [*kinds, "label"]
    assert group(kinds, columns, each=False) == {"photo": ["photo"], "tabular": ["age", "town"], "note": ["note"]}
    assert group(kinds, columns, each=True) == {name: [name] for name in kinds}
    assert group({"age": True, "photo": False}, columns, each=False) == {"age": ["age"], "photo": ["photo"]}
    assert "tabular_" in group(kinds, [*columns, "tabular"], each=False)


def joined() -> tuple[Input, dict[str, list[str | None]]]:
    cells: dict[str, list[str | None]] = {"age": ["1", "3", None], "town": ["x", None, None], "day": ["2026-01-01", None, None]}
    members = {
        "age": Number.fit(NumberConfig(), iter(["1", "3"])),
        "town": Category.fit(CategoryConfig(min_count=1), iter(["x"])),
        "day": Date.fit(DateConfig(), iter(["2026-01-01", "2026-01-03"])),
    }
    return Input("tabular", members), cells


def test_fields_stand_side_by_side_and_know_their_column() -> None:
    found, cells = joined()
    column = found.join({name: found.members[name].transform(own).column for name, own in cells.items()})
    assert [field.name for field in found.spec.fields] == [
        "age",
        "town",
        "day.moment",
        "day.year",
        "day.month",
        "day.day",
        "day.weekday",
    ]
    assert column.values.shape == (3, 7)
    assert column.values[0, :3].tolist() == [-1.0, 1.0, -1.0]
    assert column.values[1].isnan().tolist() == [False] + [True] * 6
    assert column.present.tolist() == [True, True, False]


def test_where_rows_are_many_tabm_races_too() -> None:
    found, _ = joined()
    for own in (found, *(Input(name, {name: member}) for name, member in found.members.items())):
        assert own.fitting_encoders(999, False) == own.fitting_encoders(199, True) == ["mlp", "ft-transformer"]
        assert own.fitting_encoders(1000, False) == own.fitting_encoders(200, True) == ["mlp", "ft-transformer", "tabm"]
        assert own.known_encoders == ["mlp", "ft-transformer", "tabm"]


def test_one_member_can_be_taken_away() -> None:
    found, cells = joined()
    column = found.join({name: found.members[name].transform(own).column for name, own in cells.items()})
    without = found.without(column, "day")
    assert without.values[0].isnan().tolist() == [False, False] + [True] * 5
    assert torch.equal(column.values[:, :2].nan_to_num(), without.values[:, :2].nan_to_num())
    assert found.without(column, "age").present.tolist() == [True, False, False]


def test_where_the_target_is_a_text_encoders_that_suit_it_are_tried() -> None:
    text = Input("name", {"name": Text.fit(TextConfig(), iter(["a cat", "a dog"]))})
    assert text.fitting_encoders(100, False) == ["bag", "rnn"]
    assert text.fitting_encoders(100, False, in_order=True) == ["transformer"]
    photo = Input("photo", {"photo": Image(ImageConfig(), (0.0,) * 3, (1.0,) * 3, shape=4.0)})
    assert photo.fitting_encoders(100, False) == ["cnn"]
    assert photo.fitting_encoders(100, False, in_order=True) == ["crnn"]
    assert photo.in_order("crnn")
    assert not photo.in_order("cnn")
    age = Input("age", {"age": Number.fit(NumberConfig(), iter(["1", "3"]))})
    assert age.fitting_encoders(1000, False, in_order=True) == ["mlp"]
    said = Input("said", {"said": Audio(AudioConfig(), [0.0] * 64, [1.0] * 64)})
    assert said.fitting_encoders(100, False, in_order=True, seconds=3599.0) == ["crnn"]
    assert said.fitting_encoders(100, False, in_order=True, seconds=3601.0) == ["conformer"]
    assert said.fitting_encoders(100, False, seconds=3601.0) == ["crnn"]
    wave = Input("said", {"said": Audio(AudioConfig(features="waveform"), [0.0], [1.0])})
    assert "conformer" not in wave.fitting_encoders(100, False, in_order=True, seconds=3601.0)
