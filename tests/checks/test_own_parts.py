"""Parts of a user's own, as docs/own-part.md builds them: they pass the checks, and go through a whole chain."""

from __future__ import annotations

import json
import random
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmcli import checks, load, registry
from mmcli.artifacts import store
from mmcli.config.settings import Settings
from mmcli.errors import ConfigError, ExitCode
from tests.conftest import run, write_csv

PAGE = (Path(__file__).parents[2] / "docs" / "own-part.md").read_text(encoding="utf-8")
EXAMPLES = {
    name: textwrap.dedent(code).strip() + "\n"
    for name, code in re.findall(r"^    # (\w+)\.py\n((?:    .*\n|\n)+)", PAGE, re.MULTILINE)
}
ROOM = {
    "clock": "modalities",
    "waves": "encoders",
    "apart": "fusions",
    "nearness": "heads",
    "focal": "tasks",
    "shrink": "optimizations",
}


@pytest.fixture(autouse=True)
def _nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_trusted", {})


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    for name, code in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    return tmp_path


def test_every_room_has_checks() -> None:
    for room in registry.ROOMS:
        assert checks.of_room(room).CHECKS, room


def test_the_page_builds_one_of_each_room() -> None:
    assert {name: ROOM[name] for name in EXAMPLES} == ROOM
    assert set(ROOM.values()) == set(registry.ROOMS)
    for name, code in EXAMPLES.items():
        assert len([line for line in code.splitlines() if line.strip()]) <= 45, name


@pytest.mark.parametrize("name", ROOM)
def test_each_passes_the_checks_of_its_room(own: Path, name: str) -> None:
    room, results = checks.check(str(own / f"{name}.py"))
    assert room == ROOM[name]
    assert [(result.name, result.found) for result in results if not result.passed] == []
    assert [result.name for result in results] == [one.__name__ for one in checks.of_room(room).CHECKS]


WRONG = [
    (
        "clock",
        'Config(**state["config"])',
        "Config(hours=12)",
        "state_is_json",
        "from its state it gives other values",
    ),
    ("clock", "is not None for angle", "!= 7 for angle", "one_row_to_a_cell", "a missing cell counts as present"),
    ("waves", "+ config.dim\n", "\n", "parameters_are_as", "vector: it has 4,544 parameters, the formula says 4,512"),
    (
        "waves",
        ".relu()",
        "+ signal.values.mean()",
        "padding_and_neighbours",
        "features of row 0 differ when it is alone",
    ),
    ("nearness", " + 1\n", "\n", "its_parameters_are_as", "classification: it has 19 parameters, the formula says 18"),
    ("nearness", "fused.pooled, dim=1", "fused.pooled, dim=0", "a_row_alone", "row 0 by itself has another answer"),
    ("nearness", "fused.pooled, dim=1", "fused.pooled + torch.rand(()), dim=1", "asked_or_made", "asked again it has another"),
    (
        "nearness",
        "torch.randn(task.decision.width, dim)",
        "torch.randn(task.decision.width, dim, generator=(_g := torch.Generator(), _g.seed())[0])",
        "asked_or_made",
        "made again from the same seed it has another",
    ),
    (
        "nearness",
        "self.scale = nn.Parameter(torch.tensor(config.scale))",
        "self.scale = 0.0 * nn.Parameter(torch.ones(()))",
        "the_loss",
        "no",
    ),
    ("focal", "losses.mean()", "losses", "head_and_loss", "not a finite number"),
    ("focal", 'Config(**state["config"])', "Config(gamma=1)", "state_is_json", "it has other options"),
    ("shrink", "copy.deepcopy(candidate.network)", "candidate.network", "the_model_given_stays", "it changes the model"),
    ("shrink", '"accuracy"', '"better"', "it_says_what_it_is_for", "'better', not one of accuracy, smaller, runtime"),
    ("shrink", "network.fusion_head.parameters()", "bench.dataset.splits['test']", "it_proposes", "KeyError: 'test'"),
    ("apart", '"absent": "masked"', '"absent": "maybe"', "what_a_user_is_told", "absent is 'maybe', not masked or embedding"),
]


@pytest.mark.parametrize(("name", "right", "wrong", "failed", "found"), WRONG)
def test_what_is_wrong_is_found_and_named(own: Path, name: str, right: str, wrong: str, failed: str, found: str) -> None:
    assert right in EXAMPLES[name]
    (own / f"{name}.py").write_text(EXAMPLES[name].replace(right, wrong, 1))
    _, results = checks.check(str(own / f"{name}.py"))
    bad = {result.name: result.found for result in results if not result.passed}
    assert any(key.startswith(failed) and found in said for key, said in bad.items()), bad


def test_the_room_is_that_of_the_class_or_the_one_told(own: Path) -> None:
    assert checks.room_of("gated") == "fusions"
    with pytest.raises(ConfigError, match="transformer is several parts: encoder, fusion method"):
        checks.room_of("transformer")
    assert checks.room_of("transformer", "encoder") == "encoders"
    with pytest.raises(ConfigError, match=r"--room: unknown room 'encodr'. Did you mean 'encoder'\?"):
        checks.room_of("transformer", "encodr")
    with pytest.raises(ConfigError, match=r"unknown part 'gatd'. Did you mean 'gated'\?"):
        checks.room_of("gatd")
    both = own / "both.py"
    both.write_text(EXAMPLES["apart"] + "\n" + EXAMPLES["waves"].replace("class Config", "class WavesConfig"))
    with pytest.raises(ConfigError, match=r"both\.py is several parts: encoder, fusion method"):
        checks.check(str(both))
    assert checks.room_of(f"{both}:Apart") == "fusions"
    assert checks.room_of(str(both), "encoder") == "encoders"
    (own / "none.py").write_text('"""Nothing."""\n')
    with pytest.raises(ConfigError, match=r"none\.py defines no part"):
        checks.check(str(own / "none.py"))


def test_the_command_says_what_to_do_next(own: Path) -> None:
    code, said = run("check", own / "apart.py")
    assert code == ExitCode.DONE
    assert said.endswith(f"next: mmcli fuse --method {own}/apart.py")
    assert run("check", "linear", "--room", "fusion")[0] == ExitCode.DONE
    (own / "waves.py").write_text(EXAMPLES["waves"].replace("+ config.dim\n", "\n"))
    code, said = run("check", own / "waves.py")
    assert code == ExitCode.FAILED
    assert "FAILED `parameter_formula` counts right, for every preset where it has some: vector: it has 4,544" in said
    code, said = run("check", "transformer")
    assert code == ExitCode.USAGE
    assert "--room encoder or --room fusion" in said


def test_a_modality_that_knows_none_of_the_cells_has_to_bring_some(own: Path) -> None:
    (own / "clock.py").write_text(EXAMPLES["clock"].replace("EXAMPLES =", "CELLS ="))
    with pytest.raises(ConfigError, match="sniff takes none of the cells"):
        checks.check(str(own / "clock.py"))


def day(path: Path) -> Path:
    """A table of times of day and sizes, which tell the label together."""
    draw_from = random.Random(0)
    rows = []
    for number in range(80):
        hour, size = draw_from.randrange(24), draw_from.randrange(10)
        label = "late" if hour > 12 and size > 3 else "early"
        split = ("train", "train", "val", "test")[number % 4]
        rows.append([f"{hour:02d}:{draw_from.randrange(60):02d}", f"{size / 3:.3f}", split, label])
    return write_csv(path, ["opens", "size", "split", "label"], rows)


TRAINING = "--set=training.epochs=2"
LEFT_OUT = ("search", "ensemble", "finetune", "prune", "distill", "onnx", "quantize")


@pytest.mark.slow
def test_a_whole_chain_of_ones_own_parts(own: Path) -> None:
    """Each is named by its file, its options by the file's stem; what reads the artifacts later has to name them again."""
    table, root = day(own / "day.csv"), own / "a"
    file = {name: own / f"{name}.py" for name in ROOM}

    def elsewhere(*named: str) -> list[object]:
        """As in another process, which knows of no file but those that it is told of."""
        registry._trusted.clear()
        return [word for name in named for word in ("--trust", file[name])]

    typed = ("--type", f"opens={file['clock']}", "--task", file["focal"])
    code, said = run("preprocess", table, *typed, "-a", root, "--set=modality.clock.hours=12", "--set=task.focal.gamma=1.5")
    assert code == ExitCode.DONE, said
    schema = json.loads((root / "preprocess" / "schema.json").read_text())
    assert schema["columns"]["opens"]["modality"] == f"{file['clock']}:Clock"
    task = json.loads((root / "preprocess" / "task.json").read_text())
    assert (task["task"], task["state"]["config"]["gamma"]) == (f"{file['focal']}:Focal", 1.5)

    arches = ("--arch", file["waves"], "--arch", "mlp", "-a", root, TRAINING, "--set=encoder.waves.waves=16")
    code, said = run("train-encoder", *arches, *elsewhere())
    assert code == ExitCode.ARTIFACT
    assert "add: --trust" in said
    code, said = run("train-encoder", *arches, *elsewhere("clock", "focal"))
    assert code == ExitCode.DONE, said
    assert store.read(root, "encoders/opens/Waves", "encoder", "").config["encoder"] == {"waves": 16, "dim": 32}

    trusted = elsewhere("clock", "focal", "waves")
    apart = ("--method", file["apart"], "--seeds", 1, "-a", root, TRAINING, "--set=fusion.apart.hidden=8")
    apart = (*apart, "--head", file["nearness"], "--set=head.nearness.scale=5")
    code, said = run("fuse", *apart, *trusted)
    assert code == ExitCode.DONE, said
    made = store.read(root, "fusions/Apart", "fusion", "").config
    assert made["fusion"] == {"hidden": 8}
    assert made["head"] == {"name": f"{file['nearness']}:Nearness", "config": {"scale": 5.0}}

    trusted = elsewhere("clock", "focal", "waves", "apart", "nearness")
    skip = [word for step in LEFT_OUT for word in ("--skip", step)]
    shrink = ("--with", file["shrink"], "-a", root, TRAINING, "--set=optimization.shrink.share=0.5", "--time-budget", "60s")
    code, said = run("optimize", *shrink, *skip, *trusted)
    assert code == ExitCode.DONE, said
    assert store.read(root, "optimized", "optimized", "").config["steps"][f"{file['shrink']}:Shrink"] == {"share": 0.5}
    assert " Shrink " in said

    elsewhere()
    predicted = load(root, trust=[file[name] for name in ("clock", "focal", "waves", "apart", "nearness")]).predict(table)
    assert set(predicted["label_predicted"]) <= {"early", "late"}
    assert len(predicted) == 80


def test_what_was_made_with_a_file_is_out_of_date_when_the_file_changes(own: Path) -> None:
    table, root, clock = day(own / "day.csv"), own / "a", own / "clock.py"
    arguments = ("preprocess", table, "--type", f"opens={clock}", "-a", root)
    assert run(*arguments)[0] == ExitCode.DONE
    before = store.read(root, "preprocess", "preprocess", "").manifest["hash"]
    assert "preprocess: up to date" in run(*arguments)[1]
    clock.write_text(EXAMPLES["clock"].replace("math.cos(angle)]", "-math.cos(angle)]"))
    code, said = run(*arguments)
    assert code == ExitCode.DONE
    assert "up to date" not in said
    assert store.read(root, "preprocess", "preprocess", "").manifest["hash"] != before


def test_options_are_those_of_the_file_that_was_named(own: Path) -> None:
    with pytest.raises(ConfigError, match="unknown fusion method 'apart'"):
        Settings.gather(assignments=["fusion.apart.hidden=8"])
    registry.trust(str(own / "apart.py"))
    found = Settings.gather(assignments=["fusion.apart.hidden=8"])
    assert found.part("fusions", str(own / "apart.py")).hidden == 8
    with pytest.raises(ConfigError, match=r"unknown fusion.apart.hiden: 'hiden'. Did you mean 'hidden'\?"):
        Settings.gather(assignments=["fusion.apart.hiden=8"])
    with pytest.raises(ConfigError, match="unknown encoder 'apart'"):
        Settings.gather(assignments=["encoder.apart.hidden=8"])
    shutil.copy(own / "waves.py", own / "gated.py")  # called like a fusion method, it is an encoder all the same
    registry.trust(str(own / "gated.py"))
    assert Settings.gather(assignments=["fusion.gated.hidden=8"]).part("fusions", "gated").hidden == 8


@pytest.mark.parametrize("flag", ["--type", "--task"])
def test_a_file_of_another_kind_is_refused_in_words(own: Path, flag: str) -> None:
    table = day(own / "day.csv")
    value = own / "waves.py" if flag == "--task" else f"opens={own / 'waves.py'}"
    code, said = run("preprocess", table, flag, value, "-a", own / "a")
    assert code == ExitCode.USAGE
    assert f"must define exactly one {'Task' if flag == '--task' else 'Modality'}, it defines 0" in said
    assert f"derive from mmcli.{'tasks.Task' if flag == '--task' else 'modalities.Modality'}" in said
    assert run("preprocess", table, "--task", own / "gone.py", "-a", own / "a")[0] == ExitCode.USAGE


@pytest.fixture
def installed(own: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a part of each room, as installing it would leave it; its entry points."""
    package, about = own / "site" / "their_parts", own / "site" / "their_parts-1.0.dist-info"
    package.mkdir(parents=True)
    about.mkdir()
    (package / "__init__.py").write_text("")
    for name, code in EXAMPLES.items():
        (package / f"{name}_part.py").write_text(code)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-parts\nVersion: 1.0\n")
    groups = [f"[mmcli.{room}]\n{name} = their_parts.{name}_part\n" for name, room in ROOM.items()]
    (about / "entry_points.txt").write_text("\n".join(groups))
    monkeypatch.syspath_prepend(str(own / "site"))
    registry.parts.cache_clear()
    yield about / "entry_points.txt"
    registry.parts.cache_clear()
    for module in [module for module in sys.modules if module.startswith("their_parts")]:
        del sys.modules[module]


@pytest.mark.parametrize("name", ROOM)
def test_installed_parts_are_listed_checked_and_named_like_any_other(installed: Path, name: str) -> None:
    room = ROOM[name]
    code, said = run("list", room)
    assert code == ExitCode.DONE
    assert f" {name} " in said
    part = registry.load(room, name)
    assert registry.canonical(room, name) == registry.name_of(part) == name
    found, results = checks.check(name)
    assert found == room
    assert [(result.name, result.found) for result in results if not result.passed] == []


@pytest.mark.slow
def test_installed_parts_go_through_a_chain(installed: Path, own: Path) -> None:
    """The modality is found by its sniffing, the encoder by its name; the optimization is a step of its own accord."""
    table, root = day(own / "day.csv"), own / "a"
    assert run("preprocess", table, "--task", "focal", "-a", root)[0] == ExitCode.DONE
    assert json.loads((root / "preprocess" / "schema.json").read_text())["columns"]["opens"]["modality"] == "clock"
    assert json.loads((root / "preprocess" / "task.json").read_text())["task"] == "focal"
    code, said = run("train-encoder", "--arch", "waves", "--arch", "mlp", "-a", root, TRAINING, "--set=encoder.waves.dim=8")
    assert code == ExitCode.DONE, said
    assert run("fuse", "--method", "apart", "--seeds", 1, "-a", root, TRAINING)[0] == ExitCode.DONE
    assert "would try search, ensemble, finetune, shrink, calibrate, member" in run("optimize", "-a", root, "--dry-run")[1]
    assert "finetune, calibrate" in run("optimize", "-a", root, "--dry-run", "--skip", "shrink")[1]


def test_one_class_of_several_and_names_that_are_taken(installed: Path) -> None:
    def declare(entry: str) -> None:
        installed.write_text(f"[mmcli.fusions]\n{entry}\n")
        registry.parts.cache_clear()

    both = installed.parents[1] / "their_parts" / "both.py"
    both.write_text(EXAMPLES["apart"] + '\n\nclass Other(Apart):\n    """Another."""\n')
    declare("other = their_parts.both:Other")
    assert registry.load("fusions", "other").__name__ == "Other"
    declare("gated = their_parts.apart_part")
    with pytest.raises(ConfigError, match="their-parts declares the fusion method 'gated', which mmcli has itself"):
        registry.parts("fusions")
    declare("lost = nowhere.parts")
    with pytest.raises(ConfigError, match=r"'lost' as module 'nowhere.parts', which cannot be found"):
        registry.parts("fusions")
