"""The options that most commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcli import registry
from mmcli.errors import ConfigError
from mmcli.options.flags import Flag, one_of

PANEL = "Common options"
PRECISIONS = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
CALLED_ELSEWHERE = {
    **dict.fromkeys(("gpu", "nvidia", "rocm", "amd"), "cuda"),
    **dict.fromkeys(("metal", "apple"), "mps"),
    **dict.fromkeys(("fp16", "float16", "half", "bf16", "16", "amp", "mixed", "16-mixed", "bf16-mixed"), "bfloat16"),
    **dict.fromkeys(("fp32", "single", "full", "32", "float", "32-true"), "float32"),
}
"""What other tools call devices and precisions."""
All = Annotated[bool, Flag("--all", "Show every row of the tables of scores, not the ten that matter most.")]
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


def _artifacts(path: Path) -> Path:
    if path.exists() and not path.is_dir():
        raise ConfigError(
            f"--artifacts {path}: that is a file, not a folder",
            "Name a folder, e.g. -a artifacts; it need not be there.",
        )
    return path


def _device(text: str) -> str:
    name, colon, number = text.partition(":")
    if colon and not number.isdecimal():
        raise ConfigError(f"--device {text}: {number!r} is not the number of a device", "E.g. --device cuda:1")
    one_of("--device", "device", name, DEVICES, CALLED_ELSEWHERE)
    return text


def _precision(text: str) -> str:
    return one_of("--precision", "precision", text, PRECISIONS, CALLED_ELSEWHERE)


@dataclass(frozen=True, kw_only=True)
class Common:
    """Where artifacts lie, what to compute on, what to say. A command takes some or all of them."""

    artifacts: Annotated[
        Path, Flag("--artifacts", "Where artifacts lie.", short="-a", envvar="MMCLI_ARTIFACTS", panel=PANEL, parse=_artifacts)
    ] = Path("artifacts")
    config: Annotated[
        Path | None,
        Flag("--config", "Options from a TOML file.", short="-c", envvar="MMCLI_CONFIG", eager=True, panel=PANEL),
    ] = None
    set: Annotated[
        tuple[str, ...],
        Flag(
            "--set",
            "One option of a part, e.g. encoder.cnn.width=64. Repeat.",
            metavar="KEY=VALUE",
            panel=PANEL,
            complete="keys",
        ),
    ] = ()
    device: Annotated[
        str,
        Flag(
            "--device",
            "auto, cpu, cuda, cuda:1, mps.",
            metavar="NAME",
            envvar="MMCLI_DEVICE",
            panel=PANEL,
            parse=_device,
            complete=DEVICES,
        ),
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
            complete=PRECISIONS,
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
    verbose: Annotated[bool, Flag("--verbose", "Say details too: races, what was measured.", short="-v", panel=PANEL)] = False
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
