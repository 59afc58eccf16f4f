"""What `optimize` is told."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

from mmcli import registry
from mmcli.artifacts import layout
from mmcli.errors import ConfigError, did_you_mean
from mmcli.options.flags import Flag, one_of
from mmcli.options.made import require_fused
from mmcli.options.training import seconds

Goal = Literal["balanced", "accuracy", "latency", "size"]
GOALS: tuple[Goal, ...] = get_args(Goal)
TRADE, TIME = "Accuracy, speed and size", "Time"


def _method(name: str) -> str:
    registry.trust(name)
    registry.resolve("fusions", name)
    return name


def _steps(flag: str) -> Callable[[list[str]], list[str]]:
    def known(names: list[str]) -> list[str]:
        for name in names:
            one_of(flag, "step", name, registry.parts("optimizations"))
        return names

    return known


def _own_steps(names: list[str]) -> list[str]:
    for name in names:
        registry.trust(name)
        registry.resolve("optimizations", name)
    return names


def _goal(text: str) -> Goal:
    return cast("Goal", one_of("--goal", "goal", text, GOALS))


def _share(text: str) -> float:
    """A share from 0 to 1, from `0.5%` or `0.005`.

    Raises:
        ConfigError: it is none.
    """
    match = re.fullmatch(r"(\d*\.?\d+)\s*(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= share < 1:
        raise ConfigError(f"--max-drop {text!r} is not a share", "E.g. 0.5%, or 0.005.")
    return share


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    method: Annotated[
        str | None,
        Flag(
            "--method",
            "The fusion to start from. Default: the best on val.",
            short="-m",
            metavar="NAME",
            parse=_method,
            complete="fusions",
        ),
    ] = None
    goal: Annotated[
        Goal,
        Flag(
            "--goal",
            "What to pick: balanced, accuracy, latency or size.",
            metavar="GOAL",
            panel=TRADE,
            parse=_goal,
            complete=GOALS,
        ),
    ] = "balanced"
    max_drop: Annotated[
        float,
        Flag(
            "--max-drop",
            "The most of the primary metric that may be lost for speed or size, surely: the low end of the interval counts.",
            metavar="SHARE",
            panel=TRADE,
            parse=_share,
            shown="0.5%",
        ),
    ] = 0.005
    pick: Annotated[
        str | None,
        Flag(
            "--pick",
            "Take this of the models that were measured, whatever the goal. After a run: at once.",
            metavar="MODEL",
            panel=TRADE,
        ),
    ] = None
    ensemble: Annotated[bool, Flag("--ensemble/--no-ensemble", "Whether several fusions may be averaged.", panel=TRADE)] = True
    coverage: Annotated[
        float, Flag("--coverage", "How often prediction sets are to hold the truth.", min=0.5, max=0.999, panel=TRADE)
    ] = 0.9
    time_budget: Annotated[
        float,
        Flag(
            "--time-budget",
            "How long it may take: 90s, 10m, 1h. Making the graph for ONNX Runtime may end up to a minute later.",
            metavar="TIME",
            envvar="MMCLI_TIME_BUDGET",
            panel=TIME,
            parse=seconds,
            shown="4m",
        ),
    ] = 240.0
    """Seconds."""
    trials: Annotated[
        int | None,
        Flag("--trials", "Trials of the search in all. Default: 40, if there is time.", min=0, show_default=False, panel=TIME),
    ] = None
    join: Annotated[bool, Flag("--join", "Only add trials to the search of another process.", panel=TIME)] = False
    skip: Annotated[
        tuple[str, ...],
        Flag(
            "--skip",
            "A step to leave out (see mmcli list optimizations). Repeat.",
            metavar="STEP",
            panel=TIME,
            parse=_steps("--skip"),
            complete="optimizations",
        ),
    ] = ()
    only: Annotated[
        tuple[str, ...],
        Flag(
            "--only",
            "The steps to take, and no others (see mmcli list optimizations). Repeat. Default: all.",
            metavar="STEP",
            panel=TIME,
            parse=_steps("--only"),
            complete="optimizations",
        ),
    ] = ()
    more: Annotated[
        tuple[str, ...],
        Flag(
            "--with",
            "A step of your own to take as well: FILE.py. Repeat.",
            metavar="FILE.py",
            panel=TIME,
            parse=_own_steps,
        ),
    ] = ()

    def check(self, root: Path) -> None:
        """Finds, before torch is imported, a model to pick that was not measured.

        Raises:
            ConfigError: nothing was optimized under `root`, no model of that name, or the refit, which none is measured with.
        """
        if self.pick is None:
            require_fused(root)
            return
        if self.pick == layout.REFIT:
            there = (root / layout.REFIT).is_dir()
            made = f"Take it by its folder, e.g. mmcli predict --model {shlex.quote(str(root / layout.REFIT))}."
            raise ConfigError(
                f"--pick {self.pick}: that is a model of its own, trained on the rows that models are judged by here",
                made if there else "mmcli run TABLE --folds 5 --refit makes it.",
            )
        if not (root / layout.OPTIMIZED).is_dir():
            raise ConfigError(
                f"--pick {self.pick}: there are no models yet in {root} to pick from",
                "Run mmcli optimize without --pick: it lists those that it measured, and --pick takes one of them at once.",
            )
        try:
            rows = json.loads((root / layout.OPTIMIZED / layout.TRADEOFF).read_text(encoding="utf-8"))["rows"]
            measured = [str(row["name"]) for row in list(rows) if "cost" in dict(row)]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):  # the stage says what is wrong there
            return
        if measured and self.pick not in measured:
            near = did_you_mean(self.pick, measured)
            said = f"unknown model {self.pick!r}" + (f". {near}" if near.startswith("Did") else "")
            raise ConfigError(f"--pick {self.pick}: {said}", f"Those that were measured: {'; '.join(measured)}.")
