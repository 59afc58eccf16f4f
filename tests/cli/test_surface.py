"""What a person types: the flags are frozen, nothing heavy is imported for help and errors, messages say what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from mmcli.cli import COMMANDS, app
from mmcli.errors import ExitCode
from mmcli.stages import Outcome
from tests.cli.conftest import Typed

FROZEN = Path(__file__).parent / "surface.json"


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def surface() -> dict[str, list[str]]:
    group = typer.main.get_command(app)
    commands = group.commands  # type: ignore[attr-defined]
    return {
        name: sorted(option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts))
        for name, command in sorted(commands.items())
    }


def test_the_surface_is_frozen() -> None:
    """A change here is a change for every user's scripts: mean it, say it in the changelog, then write the file anew."""
    assert surface() == json.loads(FROZEN.read_text())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fuse", "--input", "nope"), "--input nope: unknown input 'nope'"),
        (("fuse", "--order", "wordd"), "Did you mean 'word'?"),
        (("train-encoder", "nope"), "unknown input 'nope'"),
        pytest.param(("evaluate", "--slice", "nope"), "--slice nope: unknown column 'nope'", marks=pytest.mark.slow),
        (("evaluate", "-a", "nowhere"), "nowhere/preprocess does not exist"),
        (("fuse", "-a", "nowhere"), "nowhere/preprocess does not exist"),
        (("train-encoder", "-a", "nowhere"), "nowhere/preprocess does not exist"),
        (("optimize", "-a", "nowhere"), "nowhere/preprocess does not exist"),
        (("export", "-a", "nowhere"), "nowhere/preprocess does not exist"),
        (("predict", "TABLE", "-a", "nowhere"), "nowhere/preprocess does not exist"),
        (("preprocess", "TABLE", "--target", "labell"), "Did you mean 'label'?"),
        (("run", "TABLE", "--ignore", "nope"), "--ignore"),
        (("inspect", "TABLE", "--split", "nope"), "--split"),
    ],
    ids=lambda own: " ".join(own) if isinstance(own, tuple) else "",
)
def test_what_does_not_fit_what_is_there_is_found_without_torch(
    arguments: tuple[str, ...], said: str, request: pytest.FixtureRequest, table: Path, typed: Typed
) -> None:
    """Of tables their header is read, which takes pandas; what earlier stages made is a page of JSON."""
    own = arguments[1:]
    if "-a" not in arguments and arguments[0] != "inspect":
        own = ("-a", str(request.getfixturevalue("chain" if arguments[0] == "evaluate" else "preprocessed")), *own)
    line = [arguments[0], *(str(table) if word == "TABLE" else word for word in own)]
    heavy, output = typed(*line)
    assert said in " ".join(output.split())
    assert "torch" not in heavy
    assert "TABLE" in arguments or not heavy


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("preprocess", "--help"),
        ("fuse", "--methode", "x"),
        ("fuse", "--method", "gatd"),
        ("train-encoder", "--arch", "cnm"),
        ("fuse", "--set", "encoder.cnn.widht=3"),
        ("preprocess", "t.csv", "--image-size", "3"),
        ("list",),
    ],
    ids=" ".join,
)
def test_help_and_usage_errors_import_nothing_heavy(arguments: tuple[str, ...], typed: Typed) -> None:
    assert typed(*arguments)[0] == set()


def test_help_names_every_command() -> None:
    code, output = run("--help")
    assert code == 0
    assert all(command in output for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command: str) -> None:
    code, output = run(command, "--help")
    assert code == 0
    group = typer.main.get_command(app)
    for parameter in group.commands[command].params:  # type: ignore[attr-defined]
        assert getattr(parameter, "help", None), f"{command}: {parameter.name}"
    assert "Usage" in output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("fuze",), ExitCode.USAGE, "Did you mean 'fuse'?"),
        (("fuse", "--methd", "gated"), ExitCode.USAGE, "--method"),
        (("fuse", "--method", "gatd"), ExitCode.USAGE, "Did you mean 'gated'?"),
        (("train-encoder", "--arch", "rrn"), ExitCode.USAGE, "Did you mean 'rnn'?"),
        (("fuse", "--set", "fusion.gated.hiden=3"), ExitCode.USAGE, "Did you mean 'hidden'?"),
        (("fuse", "--set", "encoder.cnn.width=8"), ExitCode.USAGE, "It is for: mmcli train-encoder."),
        (("train-encoder", "--set", "fuse.training.epochs=8"), ExitCode.USAGE, "It is for: mmcli fuse."),
        (
            ("fuse", "--set", "task.classification.label_smoothing=0"),
            ExitCode.USAGE,
            "It is for: mmcli inspect, mmcli preprocess.",
        ),
        (("fuse", "--precision", "bfloat"), ExitCode.USAGE, "Did you mean 'bfloat16'?"),
        (("preprocess", "t.csv", "--max-bad", "many"), ExitCode.USAGE, "E.g. --max-bad 5%"),
        (("preprocess", "t.csv", "--type", "photo"), ExitCode.USAGE, "COL=MODALITY"),
        (("list", "fusion"), ExitCode.USAGE, "Did you mean 'fusions'?"),
        (("preprocess", "absent.csv"), ExitCode.BAD_DATA, "no such file"),
        (("train-encoder", "-a", "nowhere"), ExitCode.ARTIFACT, 'Run "mmcli preprocess TABLE" first'),
        (("evaluate", "-a", "nowhere"), ExitCode.ARTIFACT, "does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_input_ends_with_a_code_and_what_to_do(arguments: tuple[str, ...], code: int, said: str) -> None:
    found, output = run(*arguments)
    assert found == code
    assert said in " ".join(output.split())
    assert "Traceback" not in output


def test_column_errors_come_all_at_once(table: Path) -> None:
    code, output = run("preprocess", str(table), "--target", "lable", "--input", "pictur", "--type", "word=txt")
    assert code == ExitCode.BAD_DATA
    for near in ("'label'", "'picture'", "'text'"):
        assert f"Did you mean {near}?" in " ".join(output.split())


def test_the_config_file_stands_below_the_flags_and_above_the_defaults(table: Path, tmp_path: Path) -> None:
    file = tmp_path / "mm.toml"
    file.write_text('[preprocess]\ntarget = "split"\ninput = ["picture"]\nval = 0.2\n')
    arguments = ("preprocess", str(table), "--config", str(file), "--dry-run", "--json", "-q", "-a", str(tmp_path))
    told = {}
    for target, more in (("split", ()), ("label", ("--target", "label"))):
        output = run(*arguments, *more)[1]  # warnings, of classes of which val has few, and then the description
        told[target] = json.loads(output[output.index("{") :])
        assert told[target]["target"] == target
    assert told["label"]["columns"] == {"picture": "image"}
    file.write_text('[preprocess]\ntraget = "word"\n')
    code, output = run(*arguments)
    assert code == ExitCode.USAGE
    assert "Did you mean 'target'?" in output


def test_list_is_the_registry() -> None:
    from mmcli import registry

    code, output = run("list", "fusions", "--json")
    assert code == 0
    assert set(json.loads(output)["fusions"]) == set(registry.parts("fusions"))
    assert "parallel" in run("list", "fusions")[1]


def test_interruption_has_its_own_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mmcli.stages import status

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "run", interrupt)
    code, output = run("status", "-a", str(tmp_path))
    assert code == ExitCode.INTERRUPTED
    assert "goes on from the last checkpoint" in output


def test_a_bug_says_so_without_a_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mmcli.stages import status

    def fail(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(status, "run", fail)
    code, output = run("status", "-a", str(tmp_path))
    assert code == ExitCode.FAILED
    assert "this is a bug in mmcli: ZeroDivisionError: oops" in output
    assert "MMCLI_DEBUG=1" in output
    assert "Traceback" not in output


def test_names_of_parts_are_completed() -> None:
    from mmcli.cli.completion import of as complete_names

    ctx = typer.Context(typer.main.get_command(app))
    assert [name for name, _ in complete_names("fusions")(ctx, "ga")] == ["gated", "gated-cross-attention"]
    assert {"bag", "cnn", "rnn"} <= {name for name, _ in complete_names("encoders")(ctx, "")}


def test_an_option_of_one_stage_does_not_reach_its_namesake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`run --workers` is that of preprocess, `run --for` and `run --input` too: fuse has options of these names."""
    from mmcli.stages import fuse, preprocess, train_encoder

    given = {}

    def stop(options: object, _: object) -> None:
        given["fuse"] = options
        raise KeyboardInterrupt

    monkeypatch.setattr(preprocess, "run", lambda _, options, *__: given.setdefault("preprocess", options) and Outcome({}, ""))
    monkeypatch.setattr(train_encoder, "run", lambda *_: Outcome({}, ""))
    monkeypatch.setattr(fuse, "run", stop)
    (tmp_path / "t.csv").write_text("a,label\n1,x\n2,y\n")
    told = ("--workers", "3", "-i", "a", "--for", "image=cnn", "--method", "late", "--seeds", "2")
    code, _ = run("run", str(tmp_path / "t.csv"), "-a", str(tmp_path), *told)
    assert code == ExitCode.INTERRUPTED
    assert (given["preprocess"].workers, given["preprocess"].roles.inputs) == (3, ("a",))
    assert given["preprocess"].encoders == {"image": "cnn"}
    assert given["fuse"] == fuse.Options(methods=("late",), seeds=2)
