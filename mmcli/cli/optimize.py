"""mmcli optimize."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mmcli.cli import options as o

if TYPE_CHECKING:
    from mmcli.selection.tradeoff import Goal

GOALS = ("balanced", "accuracy", "latency", "size")
TRADE, SEARCH = "Accuracy, speed and size", "Time"

Method = Annotated[
    str | None,
    typer.Option("--method", "-m", help="The fusion to start from. Default: the best on val.", metavar="NAME"),
]
GoalOption = Annotated[
    str,
    typer.Option("--goal", help="What to pick: balanced, accuracy, latency or size.", metavar="GOAL", rich_help_panel=TRADE),
]
MaxDrop = Annotated[
    str,
    typer.Option(
        "--max-drop",
        help="The most of the primary metric that may be lost for speed or size, surely: the low end of the interval counts.",
        metavar="SHARE",
        rich_help_panel=TRADE,
    ),
]
Pick = Annotated[
    str | None,
    typer.Option(
        "--pick",
        help="Take this of the models that were measured, whatever the goal. After a run: at once.",
        metavar="MODEL",
        rich_help_panel=TRADE,
    ),
]
EnsembleFlag = Annotated[
    bool,
    typer.Option("--ensemble/--no-ensemble", help="Whether several fusions may be averaged.", rich_help_panel=TRADE),
]
Coverage = Annotated[
    float,
    typer.Option(
        "--coverage", help="How often prediction sets are to hold the truth.", min=0.5, max=0.999, rich_help_panel=TRADE
    ),
]
TimeBudget = Annotated[
    str,
    typer.Option(
        "--time-budget",
        help="How long it may take: 90s, 10m, 1h. Making the graph for ONNX Runtime may end up to a minute later.",
        metavar="TIME",
        envvar="MMCLI_TIME_BUDGET",
        rich_help_panel=SEARCH,
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials",
        help="Trials of the search in all. Default: 40, if there is time.",
        min=0,
        show_default=False,
        rich_help_panel=SEARCH,
    ),
]
Join = Annotated[
    bool,
    typer.Option("--join", help="Only add trials to the search of another process.", rich_help_panel=SEARCH),
]
Skip = Annotated[
    list[str] | None,
    typer.Option(
        "--skip", help="A step to leave out (see mmcli list optimizations). Repeat.", metavar="STEP", rich_help_panel=SEARCH
    ),
]

With = Annotated[
    list[str] | None,
    typer.Option(
        "--with", help="A step of your own to take as well: FILE.py. Repeat.", metavar="FILE.py", rich_help_panel=SEARCH
    ),
]


def command(
    method: Method = None,
    goal: GoalOption = "balanced",
    max_drop: MaxDrop = "0.5%",
    pick: Pick = None,
    ensemble: EnsembleFlag = True,
    coverage: Coverage = 0.9,
    time_budget: TimeBudget = "4m",
    trials: Trials = None,
    join: Join = False,
    skip: Skip = None,
    with_: With = None,
    artifacts: o.Artifacts = Path("artifacts"),
    config: o.ConfigFile = None,
    set_: o.Set = None,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    threads: o.Threads = 0,
    seed: o.Seed = 0,
    json_: o.Json = False,
    quiet: o.Quiet = False,
    trust: o.Trust = None,
    dry_run: o.DryRun = False,
    force: o.Force = False,
) -> None:
    """Make the fused model more accurate, better calibrated, faster and smaller; measure the trade and pick."""
    from mmcli import registry
    from mmcli.cli.fuse import check_methods

    check_methods([method] if method else None)
    for name in with_ or ():
        registry.trust(name)
    context = o.begin(
        artifacts=artifacts,
        config=config,
        assignments=set_,
        stage="optimize",
        device=device,
        precision=precision,
        threads=threads,
        seed=seed,
        quiet=quiet,
        trust=trust,
        force=force,
        dry_run=dry_run,
    )
    seconds, drop = parse_time(time_budget), parse_share(max_drop)
    from mmcli.stages import optimize

    options = optimize.Options(
        method=method,
        goal=check_goal(goal),
        time_budget=seconds,
        trials=trials,
        max_drop=drop,
        coverage=coverage,
        ensemble=ensemble,
        pick=pick,
        join=join,
        skip=tuple(skip or ()),
        more=tuple(with_ or ()),
    )
    o.end(optimize.run(options, context), context, json_)


def check_goal(goal: str) -> Goal:
    """The goal itself.

    Raises:
        ConfigError: it is none.
    """
    from mmcli.errors import ConfigError, unknown

    if goal not in GOALS:
        raise ConfigError(f"--goal {goal}: {unknown('goal', goal, GOALS)}")
    return cast("Goal", goal)


def parse_time(text: str) -> float:
    """Seconds, from `90s`, `10m`, `1h` or a plain number of seconds.

    Raises:
        ConfigError: it is none of these.
    """
    from mmcli.errors import ConfigError

    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if match is None or not float(match[1]):
        raise ConfigError(f"--time-budget {text!r} is not a time", "E.g. 90s, 10m, 1h.")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def parse_share(text: str) -> float:
    """A share from 0 to 1, from `0.5%` or `0.005`.

    Raises:
        ConfigError: it is none.
    """
    from mmcli.errors import ConfigError

    match = re.fullmatch(r"(\d*\.?\d+)\s*(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= share < 1:
        raise ConfigError(f"--max-drop {text!r} is not a share", "E.g. 0.5%, or 0.005.")
    return share
