"""The options that most commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcli import registry
from mmcli.errors import ConfigError, unknown
from mmcli.options.flags import Flag

PANEL = "Common options"
PRECISIONS = ("auto", "float32", "bfloat16")
Json = Annotated[bool, Flag("--json", "Print the result as JSON on stdout.", panel=PANEL)]


def _trusted(files: list[Path]) -> list[Path]:
    """Lets parts of one's own be run.

    Raises:
        ConfigError: one is no Python file, or cannot be read.
    """
    for file in files:
        if file.suffix != ".py":
            raise ConfigError(f"--trust {file}: that is no Python file", "Give the file that the part stands in: mine.py")
        registry.trust(str(file))
    return files


def _precision(text: str) -> str:
    if text not in PRECISIONS:
        raise ConfigError(f"--precision {unknown('precision', text, PRECISIONS)}")
    return text


@dataclass(frozen=True, kw_only=True)
class Common:
    """Where artifacts lie, what to compute on, what to say. A command takes some or all of them."""

    artifacts: Annotated[
        Path, Flag("--artifacts", "Where artifacts lie.", short="-a", envvar="MMCLI_ARTIFACTS", panel=PANEL)
    ] = Path("artifacts")
    config: Annotated[
        Path | None,
        Flag("--config", "Options from a TOML file.", short="-c", envvar="MMCLI_CONFIG", eager=True, panel=PANEL),
    ] = None
    set: Annotated[
        tuple[str, ...],
        Flag("--set", "One option of a part, e.g. encoder.cnn.width=64. Repeat.", metavar="KEY=VALUE", panel=PANEL),
    ] = ()
    device: Annotated[
        str, Flag("--device", "auto, cpu, cuda, cuda:1, mps.", metavar="NAME", envvar="MMCLI_DEVICE", panel=PANEL)
    ] = "auto"
    precision: Annotated[
        str,
        Flag(
            "--precision",
            "auto, float32 or bfloat16.",
            metavar="NAME",
            envvar="MMCLI_PRECISION",
            panel=PANEL,
            parse=_precision,
        ),
    ] = "auto"
    threads: Annotated[
        int,
        Flag(
            "--threads",
            "Cores to compute on. Default: all, or as many as are faster.",
            min=0,
            max=1024,
            envvar="MMCLI_THREADS",
            show_default=False,
            panel=PANEL,
        ),
    ] = 0
    seed: Annotated[int, Flag("--seed", "Same seed, same bits on one device.", min=0, envvar="MMCLI_SEED", panel=PANEL)] = 0
    json: Json = False
    quiet: Annotated[bool, Flag("--quiet", "Say warnings and errors only.", short="-q", panel=PANEL)] = False
    trust: Annotated[
        tuple[Path, ...],
        Flag(
            "--trust",
            "A file with a part of your own that artifacts name: without it, nothing in that file is run. Repeat.",
            metavar="FILE.py",
            envvar="MMCLI_TRUST",
            panel=PANEL,
            parse=_trusted,
        ),
    ] = ()
    dry_run: Annotated[bool, Flag("--dry-run", "Find every error, decide everything, write nothing.", panel=PANEL)] = False
    force: Annotated[bool, Flag("--force", "Work even if nothing has changed.", panel=PANEL)] = False
