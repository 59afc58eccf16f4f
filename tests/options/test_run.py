"""What the presets of `run` and its time make of what each stage is told; the flags of training."""

from __future__ import annotations

import pytest

from mmcli.errors import ConfigError
from mmcli.options import evaluate, fuse, optimize, train_encoder
from mmcli.options.flags import gather
from mmcli.options.run import Options, of_stage, with_late
from mmcli.options.training import asked


def test_a_preset_says_what_was_not_typed() -> None:
    balanced, best, fast = Options(), Options(preset="best"), Options(preset="fast")
    assert of_stage(optimize.Options(), balanced).only == ("finetune", "calibrate", "onnx")
    assert of_stage(fuse.Options(), balanced) == fuse.Options()
    assert of_stage(fuse.Options(), best).methods == ("all",)
    tuned = [of_stage(train_encoder.Options(), own).tune_models for own in (fast, balanced, best)]
    assert tuned == ["head", "head", "last-2"]
    assert of_stage(fuse.Options(methods=("gated",)), best).methods == ("gated",)
    assert of_stage(optimize.Options(), best) == optimize.Options()
    assert of_stage(train_encoder.Options(), fast).epochs == 0.3
    assert of_stage(train_encoder.Options(epochs=7), fast).epochs == 7
    assert of_stage(fuse.Options(epochs=7), fast) == fuse.Options(epochs=7, seeds=1)


def test_the_whole_time_is_shared_out() -> None:
    hundred = Options(whole=100.0)
    shares = [of_stage(own(), hundred).time_budget for own in (train_encoder.Options, fuse.Options, optimize.Options)]
    assert shares == [50.0, 15.0, 20.0]
    assert of_stage(evaluate.Options(), hundred) == evaluate.Options()
    assert of_stage(train_encoder.Options(), Options()).time_budget is None


def test_trials_without_a_search_are_refused() -> None:
    with pytest.raises(ConfigError, match="only the preset best searches"):
        Options().check(optimize.Options(trials=3))
    with pytest.raises(ConfigError, match="only the preset best searches"):
        Options(preset="best", no_optimize=True).check(optimize.Options(trials=3))
    Options(preset="best").check(optimize.Options(trials=3))


@pytest.mark.parametrize(
    ("text", "epochs", "of_forty"), [("30", 30, 30), ("50%", 0.5, 20), ("1", 1, 1), ("0.4%", 0.004, 1), ("12.5%", 0.125, 5)]
)
def test_epochs_are_a_number_or_a_share(text: str, epochs: float, of_forty: int) -> None:
    found = gather(train_encoder.Options, {"epochs": text}).epochs
    assert found == pytest.approx(epochs)
    assert asked({"epochs": 40}, found, None, None) == {"epochs": of_forty}


@pytest.mark.parametrize(
    ("flag", "text", "said"),
    [
        ("epochs", "0", "--epochs 0: expected a number of epochs, or a share"),
        ("epochs", "2.5", "--epochs 2.5: expected"),
        ("epochs", "120%", "--epochs 120%: expected"),
        ("learning_rate", "fast", "--learning-rate fast: expected a number above 0"),
        ("learning_rate", "-1", "--learning-rate -1: expected"),
        ("learning_rate", "nan", "--learning-rate nan: expected"),
        ("batch_size", "0", "--batch-size 0: expected a number of rows, or auto"),
        ("time_budget", "0s", "--time-budget '0s' is not a time"),
    ],
)
def test_wrong_values(flag: str, text: str, said: str) -> None:
    for options in (train_encoder.Options, fuse.Options):
        with pytest.raises(ConfigError) as error:
            gather(options, {flag: text})
        assert error.value.message.startswith(said)


def test_a_batch_size_of_auto_changes_nothing_by_itself() -> None:
    assert asked({"epochs": 40}, None, 0, None) == {}
    assert asked({"epochs": 40}, None, 32, 1e-3) == {"batch_size": 32, "learning_rate": 1e-3}


def test_folds_are_a_number_or_words() -> None:
    assert [gather(Options, {"folds": text}).folds for text in ("auto", "none", "1", "5")] == [None, 1, 1, 5]
    for text in ("0", "21", "many", "2.5", "-1"):
        with pytest.raises(ConfigError, match=f"--folds '{text}' is no number of folds"):
            gather(Options, {"folds": text})
    with pytest.raises(ConfigError, match="--keep-val is for folds, of which there are none"):
        Options(keep_val=True).check(optimize.Options())
    with pytest.raises(ConfigError, match="--refit is for folds, of which there are none"):
        Options(refit=True, folds=1).check(optimize.Options())
    Options(refit=True, folds=3).check(optimize.Options())
    Options(keep_val=True, preset="best").check(optimize.Options())
    Options(keep_val=True, folds=3).check(optimize.Options())


def test_folds_compare_the_default_with_late_where_no_method_is_named() -> None:
    assert with_late(fuse.Options(), 5).methods == ("gated", "late")
    assert with_late(fuse.Options(methods=("film",)), 5).methods == ("film",)
    assert with_late(fuse.Options(head="linear"), 5).methods == ()
    assert with_late(fuse.Options(), 1).methods == ()


def test_folds_share_the_time() -> None:
    hundred = Options(whole=100.0)
    assert of_stage(train_encoder.Options(), hundred, 1 / 3).time_budget == pytest.approx(50 / 3)
