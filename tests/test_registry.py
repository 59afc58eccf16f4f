from __future__ import annotations

from pathlib import Path

import pytest

from mmcli import registry
from mmcli.errors import ConfigError

ALL = [(room, name) for room in registry.ROOMS for name in registry.parts(room)]


@pytest.mark.parametrize(("room", "name"), ALL)
def test_every_part_has_one_class_a_summary_and_documented_options(room: str, name: str) -> None:
    part = registry.load(room, name)
    assert part.__doc__
    config = registry.config_of(part)
    for option, field in config.model_fields.items():
        assert field.description, f"{room}/{name}: {option} has no docstring line"
    info = registry.parts(room)[name]
    assert 20 < len(info.summary) < 130


@pytest.mark.parametrize(("room", "name"), ALL)
def test_config_from_source_equals_the_imported_one(room: str, name: str) -> None:
    light, real = registry.config_class(room, name), registry.config_of(registry.load(room, name))
    assert light is not real
    assert light().model_dump() == real().model_dump()
    light.model_validate(light().model_dump())  # its own checks know all that they name
    assert light.model_json_schema()["properties"].keys() == real.model_json_schema()["properties"].keys()


def test_aliases_resolve() -> None:
    assert registry.resolve("fusions", "parallel").name == "concat"


def test_a_wrong_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown fusion method 'gatd'. Did you mean 'gated'\?"):
        registry.resolve("fusions", "gatd")


def test_a_new_file_is_a_new_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import mmcli.fusions

    (tmp_path / "mean.py").write_text(
        '"""The mean of all columns.\n"""\n'
        "import torch\n"
        "from mmcli.config import Config as BaseConfig\n"
        "from mmcli.fusions import Fusion\n"
        "class Config(BaseConfig):\n    '''Nothing.'''\n"
        "class Mean(Fusion):\n    '''Mean.'''\n"
    )
    monkeypatch.setattr(mmcli.fusions, "__path__", [*mmcli.fusions.__path__, str(tmp_path)])
    monkeypatch.setattr(mmcli.fusions.__spec__, "submodule_search_locations", [str(tmp_path)])
    registry.parts.cache_clear()
    try:
        assert registry.parts("fusions")["mean"].summary == "The mean of all columns"
        assert registry.load("fusions", "mean").__name__ == "Mean"
    finally:
        registry.parts.cache_clear()
