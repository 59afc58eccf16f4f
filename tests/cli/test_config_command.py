"""mmcli config: what it prints is TOML that says what stands, and that a command takes again when it is changed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from mmcli.cli import app
from mmcli.config.settings import every_key


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["config", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_it_shows_every_option_of_every_part_with_its_default() -> None:
    told = tomllib.loads(re.sub(r"^# (?=[a-z_-]+ = [^# ])", "", shown(), flags=re.MULTILINE))
    keys = {
        f"{section}.{part}.{name}" if isinstance(value, dict) else f"{section}.{part}"
        for section, parts in told.items()
        for part, value in parts.items()
        for name in (value if isinstance(value, dict) else [""])
    }
    lacking = {key for key in every_key() if key not in keys}
    assert not {key for key in lacking if f"# {key.rpartition('.')[2]} =" not in shown(key.rpartition(".")[0])}
    assert told["training"]["epochs"] == 40
    assert told["encoder"]["cnn"]["width"] == 32
    assert told["optimize"]["goal"] == "balanced"


def test_what_was_said_stands_without_a_mark_and_is_taken_again(tmp_path: Path) -> None:
    said = shown("training", "fuse", "--set", "training.epochs=7", "--set", 'training.mix="cutmix"')
    assert tomllib.loads(said) == {"training": {"epochs": 7, "mix": "cutmix"}, "fuse": {}}
    file = tmp_path / "my.toml"
    file.write_text(said.replace("# seeds =", "seeds = 5 #"), encoding="utf-8")
    again = shown("training", "fuse", "-c", str(file))
    assert tomllib.loads(again) == {"training": {"epochs": 7, "mix": "cutmix"}, "fuse": {"seeds": 5}}


def test_an_unknown_section_names_the_nearest() -> None:
    result = CliRunner().invoke(app, ["config", "trainng"])
    assert result.exit_code == 2
    assert "Did you mean 'training'?" in result.stderr


def test_what_a_file_says_for_one_command_or_by_another_spelling_is_not_lost(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text(
        "[fuse]\nseeds = 5\n[fuse.training]\nepochs = 9\n[fuse.fusion.gated]\nhidden = 96\n"
        "[encoder.ft_transformer]\ndropout = 0.05\n[predict]\nraw = true\n",
        encoding="utf-8",
    )
    told = tomllib.loads(shown("-c", str(file)))
    assert told["fuse"] == {"seeds": 5, "training": {"epochs": 9}, "fusion": {"gated": {"hidden": 96}}}
    assert told["encoder"]["ft-transformer"] == {"dropout": 0.05}
    assert told["predict"] == {"raw": True}
