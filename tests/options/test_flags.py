"""Every option is declared once: what a class holds is what the command takes, and what was typed comes back as the class."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer.main

import mmcli.options
from mmcli.cli import app
from mmcli.errors import ConfigError
from mmcli.options import evaluate, fuse, optimize, preprocess, run, train_encoder
from mmcli.options import inspect as inspecting
from mmcli.options.columns import Source
from mmcli.options.common import Common
from mmcli.options.flags import Flag, Group, gather, options_of

FILES = sorted(path.stem for path in Path(mmcli.options.__path__[0]).glob("*.py") if path.stem not in {"__init__", "flags"})
MODULES = [importlib.import_module(f"mmcli.options.{name}") for name in FILES]
CLASSES = [
    cls
    for module in MODULES
    for cls in vars(module).values()
    if inspect.isclass(cls) and is_dataclass(cls) and cls.__module__ == module.__name__ and cls is not train_encoder.Budget
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__.rpartition('.')[2]}.{cls.__name__}")
def test_every_field_has_one_flag_and_a_help(cls: type) -> None:
    found = options_of(cls)  # raises TypeError for a field without
    assert found
    names = [option.flag.name for option in found if option.flag.name]
    assert len(set(names)) == len(names)
    assert all(option.flag.help.endswith(".") for option in found)
    assert len({option.key for option in found}) == len(found)


def flags_of(command: str) -> set[str]:
    parameters = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    return {"/".join([*p.opts[:1], *p.secondary_opts]) for p in parameters if p.param_type_name == "option"}


def test_run_takes_what_its_stages_take_but_for_a_list() -> None:
    union = {
        option.flag.name
        for cls in (Source, *run.STAGES, Common)
        for option in options_of(cls)
        if option.flag.name and option.key not in run.LEFT_OUT.get(cls, ())
    }
    assert flags_of("run") == union
    for stage in (preprocess, train_encoder, fuse, optimize, evaluate):
        own = {option.flag.name for option in options_of(stage.Options) if option.flag.name}
        assert own <= flags_of(stage.__name__.rpartition(".")[2].replace("_", "-"))


@pytest.mark.parametrize("cls", run.LEFT_OUT, ids=lambda cls: cls.__module__)
def test_what_run_leaves_out_is_there_to_be_left_out(cls: type) -> None:
    assert set(run.LEFT_OUT[cls]) <= {option.key for option in options_of(cls)}


def test_what_was_typed_comes_back_as_the_class_and_the_rest_keeps_its_default() -> None:
    typed = {
        "target": ["h", "w"],
        "types": ["notes=text", "a=b=image"],
        "label_separator": "|",
        "val": 0.2,
        "image_size": 32,
        "exact": True,
        "tokenizer": Path("t.json"),
        "max_bad": "2.5%",
        "encoders": [],
        "encoding": None,
    }
    found = gather(preprocess.Options, typed)
    assert found.roles.target == ("h", "w")
    assert found.roles.types == {"notes": "text", "a=b": "image"}
    assert found.roles.task_options == {"multilabel": {"separator": "|"}}
    assert (found.val, found.test, found.max_bad) == (0.2, 0.15, 0.025)
    assert found.modality_options == {"image": {"size": 32, "exact": True}, "text": {"tokenizer": "t.json"}}
    assert found == preprocess.Options(roles=found.roles, val=0.2, max_bad=0.025, modality_options=found.modality_options)
    assert gather(preprocess.Options, {}) == preprocess.Options()


def test_words_become_values() -> None:
    found = gather(optimize.Options, {"time_budget": "1.5m", "max_drop": "1%", "goal": "size", "skip": ["prune"]})
    assert found == optimize.Options(time_budget=90.0, max_drop=0.01, goal="size", skip=("prune",))
    trained = gather(
        train_encoder.Options, {"architectures": ["cnn"], "budget": "2m", "unlabelled": "use", "batch_size": "auto", "folds": 5}
    )
    assert trained == train_encoder.Options(
        architectures=("cnn",), budget=train_encoder.Budget(seconds=120), unlabelled=True, batch_size=0, folds=5
    )
    assert gather(fuse.Options, {"encoders": ["a=cnn", "a=rnn"]}).encoders == {"a": ["cnn", "rnn"]}
    assert inspecting.Options(html=True).rows == 8
    assert inspecting.Options(html=True, sample=3).rows == 3
    assert inspecting.Options().rows == 0


@pytest.mark.parametrize(
    ("cls", "typed", "said"),
    [
        (preprocess.Options, {"max_bad": "many"}, "--max-bad 'many' is not a share"),
        (preprocess.Options, {"types": ["photo"]}, "--type 'photo'"),
        (preprocess.Options, {"encoders": ["image"]}, "--for 'image'"),
        (preprocess.Options, {"image_size": 3}, "modality.image.size = 3"),
        (train_encoder.Options, {"folds": 1}, "--folds 1"),
        (train_encoder.Options, {"batch_size": "-3"}, "--batch-size -3"),
        (train_encoder.Options, {"augment": "lite"}, "--augment lite"),
        (train_encoder.Options, {"unlabelled": "uze"}, "--unlabelled uze"),
        (train_encoder.Options, {"tune": "last-x"}, "--tune"),
        (train_encoder.Options, {"budget": "1.5"}, "--budget '1.5'"),
        (optimize.Options, {"goal": "sise"}, "Did you mean 'size'?"),
        (optimize.Options, {"time_budget": "0s"}, "--time-budget '0s'"),
        (optimize.Options, {"max_drop": "150%"}, "--max-drop '150%'"),
        (fuse.Options, {"encoders": ["cnn"]}, "--encoder 'cnn'"),
        (Common, {"precision": "bfloat"}, "--precision"),
        (Common, {"trust": [Path("mine.txt")]}, "--trust mine.txt"),
    ],
    ids=str,
)
def test_what_cannot_be_names_its_flag(cls: type, typed: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        gather(cls, typed)


@dataclass(frozen=True, kw_only=True)
class _Inner:
    size: Annotated[int, Flag("--size", "Of it.")] = 3


@dataclass(frozen=True, kw_only=True)
class _Outer:
    first: Annotated[str, Flag("", "By its place.")]
    doubled: Annotated[int, Group(_Inner, lambda inner: inner.size * 2)] = 6
    inner: _Inner = field(default_factory=_Inner)
    early: Annotated[bool, Flag("--early", "Before the size.", after="first")] = False


def test_groups_are_flattened_in_the_order_of_help_and_made_anew() -> None:
    assert [option.key for option in options_of(_Outer)] == ["first", "early", "size", "size"]
    assert gather(_Outer, {"first": "a", "size": 5}) == _Outer(first="a", doubled=10, inner=_Inner(size=5))


@dataclass(frozen=True)
class _Bare:
    size: int = 3


def test_a_field_without_a_flag_is_refused() -> None:
    with pytest.raises(TypeError, match="size has no flag"):
        options_of(_Bare)


def test_options_are_there_without_torch() -> None:
    code = (
        "import sys, importlib\n"
        f"for name in {FILES!r}: importlib.import_module('mmcli.options.' + name)\n"
        "print(*sorted({'torch', 'pandas', 'numpy', 'pyarrow', 'pydantic', 'typer'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
