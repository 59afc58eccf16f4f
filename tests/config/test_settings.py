from __future__ import annotations

from pathlib import Path

import pytest

from mmcli.config.settings import Settings
from mmcli.errors import ConfigError
from mmcli.training.config import TrainingConfig


def test_set_overrides_the_file_and_stage_tables_override_general_ones(tmp_path: Path) -> None:
    file = tmp_path / "mm.toml"
    file.write_text(
        '[training]\nepochs = 3\n[fuse.training]\nepochs = 7\n[encoder.cnn]\nwidth = 8\n[preprocess]\ntarget = "y"\n'
    )
    settings = Settings.gather(file, ["encoder.cnn.width=16", "fusion.gated.hidden=32"])
    assert TrainingConfig.of(settings.for_stage("train-encoder")).epochs == 3
    assert TrainingConfig.of(settings.for_stage("fuse")).epochs == 7
    assert settings.part("encoders", "cnn").width == 16
    assert settings.part("fusions", "gated").hidden == 32


def test_stage_defaults_yield_to_what_the_user_said() -> None:
    settings = Settings.gather(None, ["training.epochs=5"])
    config = TrainingConfig.of(settings, epochs=99, learning_rate=0.5)
    assert (config.epochs, config.learning_rate) == (5, 0.5)


def test_an_alias_is_as_good_as_the_name() -> None:
    assert Settings.gather(None, ["fusion.parallel.hidden=5"]).part("fusions", "concat").hidden == 5


def test_what_is_typed_must_be_of_use_and_a_file_may_name_more(tmp_path: Path) -> None:
    file = tmp_path / "mm.toml"
    file.write_text("[fusion.gated]\nhidden = 8\n")
    typed = Settings.gather(file, ["fusion.parallel.hidden=5", "fuse.fusion.cross_attention.heads=2", "encoder.cnn.width=8"])
    laid = typed.over({"fusion.late.weights": "equal"}).for_stage("fuse")
    laid.refuse_unused("fusions", ["cross-attention", "concat"], "fuse")
    with pytest.raises(ConfigError, match=r"--set fusion.parallel.hidden=5: .* 'parallel' is not in use") as caught:
        laid.refuse_unused("fusions", ["cross-attention", "mean"], "fuse")
    assert caught.value.remedy.startswith("In use: cross-attention, mean.")
    with pytest.raises(ConfigError, match="2 problems"):
        laid.refuse_unused("fusions", ["mean"], "fuse")
    laid.refuse_unused("encoders", ["cnn"], "train-encoder")
    Settings.gather(file).refuse_unused("fusions", ["mean"], "fuse")


def test_a_table_of_run_holds_for_its_stages(tmp_path: Path) -> None:
    file = tmp_path / "mm.toml"
    file.write_text("[training]\nepochs = 3\n[run.training]\nepochs = 5\n[fuse.training]\nepochs = 7\n")
    settings = Settings.gather(file).of_command("run")
    assert TrainingConfig.of(settings.for_stage("train-encoder")).epochs == 5
    assert TrainingConfig.of(settings.for_stage("fuse")).epochs == 7


def test_all_errors_are_reported_at_once_with_suggestions() -> None:
    with pytest.raises(ConfigError) as caught:
        Settings.gather(None, ["encoder.cnn.widht=3", "fusion.gated.hidden=abc", "trainign.epochs=1", "encoder.cnm.width=1"])
    message = str(caught.value)
    assert "4 problems" in message
    assert "'widht'. Did you mean 'width'?" in message
    assert "fusion.gated.hidden = 'abc': input should be a valid integer" in message
    assert "unknown section 'trainign'. Did you mean 'training'?" in message
    assert "Did you mean 'cnn'?" in message


def test_a_value_out_of_range_names_the_option() -> None:
    with pytest.raises(ConfigError, match=r"training.learning_rate = -1: input should be greater than 0"):
        Settings.gather(None, ["training.learning_rate=-1"])


@pytest.mark.parametrize("text", ["nonsense", "=3", "encoder.cnn"])
def test_set_needs_key_and_value(text: str) -> None:
    with pytest.raises(ConfigError):
        Settings.gather(None, [text])


def test_broken_toml_names_file_and_place(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("a = [")
    with pytest.raises(ConfigError, match=r"x\.toml is not valid TOML"):
        Settings.gather(file)
    with pytest.raises(ConfigError, match="no such file"):
        Settings.gather(tmp_path / "absent.toml")


def test_asking_for_a_patience_asks_for_the_best_epoch() -> None:
    assert TrainingConfig.of(Settings({}), keep="last", patience=9).keep == "last"
    asked = TrainingConfig.of(Settings({"training": {"patience": 3}}), keep="last", patience=9)
    assert (asked.keep, asked.patience) == ("best", 3)
    assert TrainingConfig.of(Settings({"training": {"patience": 3, "keep": "last"}})).keep == "last"
