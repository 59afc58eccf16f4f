"""Commands in children of this process, which has imported everything already: they are cheap to kill, or to trouble."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from tests.faults.tiny import STAGES, call, words, write_table

LEFT_OVER = (".writing", ".partial", ".old", ".race", "-journal", "-wal")


def child(arguments: list[str], prepare: Callable[[], None]) -> tuple[int, str]:
    """The exit code of a command, or the negative signal that ended it, and what it said; `prepare` is called in the child."""
    with tempfile.NamedTemporaryFile() as said:
        process = os.fork()
        if not process:
            code = 70
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                prepare()
                code, output = call(*arguments)
                os.write(1, output.encode())
            finally:
                os._exit(code)
        _, status = os.waitpid(process, 0)
        return os.waitstatus_to_exitcode(status), Path(said.name).read_text(encoding="utf-8", errors="replace")


def hashes(root: Path) -> dict[str, str]:
    """What each artifact is. Of an optimised model, which may be picked by its speed, the models that were tried."""
    found = {}
    for path in root.rglob("artifact.json"):
        name = path.parent.relative_to(root).as_posix()
        manifest = json.loads(path.read_text(encoding="utf-8"))
        tried = {file: own["sha256"] for file, own in manifest["files"].items() if file.startswith("candidates/")}
        found[name] = json.dumps(tried, sort_keys=True) if name == "optimized" else manifest["hash"]
    return found


def leftovers(root: Path) -> list[str]:
    """What no command should leave behind."""
    paths = (path for path in root.rglob("*") if ".locks" not in path.parts)
    trial = (path for path in (root / "search").glob("*/.*") if path.is_dir())
    return [str(path.relative_to(root)) for path in [*trial, *paths] if path.name.endswith(LEFT_OVER)]


class Stage:
    """One stage: the artifacts before it, its command, and what comes of it when nothing happens."""

    def __init__(self, name: str, before: Path, table: Path) -> None:
        self.name, self.before, self.table = name, before, table
        self.wanted: dict[str, str] = {}

    def begin(self, root: Path) -> list[str]:
        """A fresh copy of what is there before it; gives its command."""
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.before, root)
        return words(self.name, self.table, root)

    def mended(self, root: Path) -> list[str]:
        """What is wrong after the same command once more, to the end."""
        code, output = child(words(self.name, self.table, root), lambda: None)
        if code:
            return [f"{self.name}: the same command ends with {code}: {' '.join(output.split())[-600:]}"]
        found = [f"{self.name}: it leaves {left}" for left in leftovers(root)]
        now = hashes(root)
        return found + [f"{self.name}: {name} came out otherwise" for name, own in self.wanted.items() if now.get(name) != own]


OF_STAGES = {"preprocess": ("preprocess",), "train-encoder": ("encoders",), "fuse": ("baselines", "fusions", "leaderboard")}
"""Stage -> the folders that it makes, of those that a chain can be cut into."""


def stages_of(chain: Path, folder: Path, names: list[str]) -> list[Stage]:
    """Stages of a chain that is there already, up to `fuse`."""
    found, before = [], list[str]()
    for name, made in OF_STAGES.items():
        if name in names:
            stage = Stage(name, folder / f"before-{name}", chain.parent / "data.csv")
            stage.before.mkdir()
            for own in before:
                shutil.copytree(chain / own, stage.before / own)
            there = {*before, *made}
            stage.wanted = {own: said for own, said in hashes(chain).items() if own.partition("/")[0] in there}
            found.append(stage)
        before += [own for own in made if (chain / own).exists()]
    return found


def stages(folder: Path, names: list[str]) -> list[Stage]:
    """The stages by name, after all of them were run once."""
    table, root = write_table(folder / "data.csv"), folder / "artifacts"
    root.mkdir()
    found = []
    for name in STAGES:
        stage = Stage(name, folder / f"before-{name}", table)
        shutil.copytree(root, stage.before)
        code, output = child(words(name, table, root), lambda: None)
        assert code == 0, (name, output)
        stage.wanted = hashes(root)
        found.append(stage)
        if name == (names or list(STAGES))[-1]:
            break
    return [stage for stage in found if not names or stage.name in names]


def warm_up(names: Collection[str] = ()) -> None:
    """Imports what the children of those stages need, on one thread: a pool of threads does not outlive a fork."""
    import torch

    torch.set_num_threads(1)
    import matplotlib.figure  # noqa: F401
    import sklearn.linear_model
    import tokenizers  # noqa: F401

    from mmcli import registry
    from mmcli.stages import evaluate, fuse, predict, preprocess, train_encoder  # noqa: F401

    for room in ("modalities", "tasks", "fusions", "heads"):
        for name in registry.parts(room):
            registry.load(room, name)
    if not names or {"train-encoder", "fuse"} & {*names}:
        import sklearn.ensemble  # noqa: F401

        from mmcli.reporting import plots  # noqa: F401
    if not names or "optimize" in names:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
        import optuna  # noqa: F401
        import torch._inductor

        from mmcli.stages import optimize  # noqa: F401
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    gc.freeze()  # else each child looks through all of it for garbage, and so has a copy of it made


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
