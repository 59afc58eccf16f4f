"""What `predict` is told, and how a model is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcli.errors import ConfigError
from mmcli.options.columns import AllowMissing, Delimiter, Encoding, MediaRoot
from mmcli.options.common import Common
from mmcli.options.flags import Flag
from mmcli.options.gallery import gallery_name

ModelFolder = Annotated[
    Path | None,
    Flag("--model", "A fusion's folder, artifacts/folded, refit or optimized. Default: the best so far.", show_default=False),
]


def _words(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in {"", ".json", ".jsonl", ".srt"} or text == "-":
        raise ConfigError(
            f"--words {path}: cannot tell a format from that name",
            "Name a .json or .jsonl, an .srt for a table of one row, or a folder.",
        )
    if path.is_dir() if path.suffix else path.is_file():
        raise ConfigError(f"--words {path} is a {'folder' if path.suffix else 'file'} already", "Choose another name.")
    return path


def _labels(text: str) -> list[str]:
    found = [own.strip() for own in text.split(",") if own.strip()]
    if len(found) < 2 or len(set(found)) < len(found):
        raise ConfigError(f"--labels {text}: two at least, and none twice", 'Parted by commas: --labels "cat,dog"')
    return found


def _template(text: str) -> str:
    if "{}" not in text:
        raise ConfigError(f"--template {text!r} has no {{}} for the label", 'E.g. --template "a photo of {}"')
    return text


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    output: Annotated[
        Path, Flag("--output", "Where to write: .csv, .tsv, .parquet or .jsonl; - for CSV on standard output.", short="-o")
    ] = Path("predictions.csv")
    model: ModelFolder = None
    explain: Annotated[bool, Flag("--explain", "Write how much of each column entered, where the fusion has weights.")] = False
    sets: Annotated[
        bool,
        Flag("--sets", "Write prediction sets, or the ends of an interval: they hold the truth as often as asked."),
    ] = False
    nbest: Annotated[
        int, Flag("--nbest", "Of targets that are texts, write so many answers: _nbest_2 and on.", metavar="K", min=1)
    ] = 1
    words: Annotated[
        Path | None,
        Flag(
            "--words",
            "Of texts that follow sound, write when each word is said: FILE.json (a line for each row), FILE.srt (of one "
            "row), or a folder of such (ROW.srt).",
            metavar="PATH",
            parse=_words,
        ),
    ] = None
    embeddings: Annotated[bool, Flag("--embeddings", "Write the fused features of each row, as a list.")] = False
    beam: Annotated[
        int | None,
        Flag(
            "--beam",
            "Of texts that are written freely: how many are followed at once; 1 is the fastest. Default: as the head says.",
            min=1,
            max=64,
            show_default=False,
        ),
    ] = None
    gallery: Annotated[
        str | None,
        Flag(
            "--gallery",
            "Of identities: the name among those enrolled there (mmcli enrol), not among the train rows.",
            metavar="NAME",
            parse=gallery_name,
        ),
    ] = None
    labels: Annotated[
        Sequence[str],
        Flag(
            "--labels",
            "Of a model of columns that belong together: the label among these whose text is the most like a row. CAT,DOG,...",
            metavar="LABELS",
            parse=_labels,
        ),
    ] = ()
    template: Annotated[
        str,
        Flag("--template", "With --labels: the text of a label, which stands where {} is.", metavar="TEXT", parse=_template),
    ] = "{}"
    label_column: Annotated[
        str | None,
        Flag(
            "--label-column",
            "With --labels: the column of texts that they are like. Default: the only one.",
            metavar="COL",
            show_default=False,
        ),
    ] = None
    threshold: Annotated[
        float | None,
        Flag(
            "--threshold",
            "With --gallery: from which similarity on a name is accepted. Default: as val settled it.",
            min=-1,
            max=1,
            show_default=False,
        ),
    ] = None
    raw: Annotated[
        bool, Flag("--raw", "Leave cells of a CSV that a spreadsheet would run as formulas without an apostrophe.")
    ] = False
    allow_missing: AllowMissing = False
    media_root: MediaRoot = None
    encoding: Encoding = None
    delimiter: Delimiter = None

    def beside(self, common: Common) -> None:
        """Looks at what the common options say besides.

        Raises:
            ConfigError: both would write to standard output, or two files have one name.
        """
        if self.words is not None and self.words.resolve() == self.output.resolve():
            raise ConfigError(f"--words and -o would both write {self.output}", "Choose another name.")
        if self.labels and self.gallery is not None:
            raise ConfigError("--labels and --gallery are two ways to name rows", "Leave one out.")
        if not self.labels and (self.template != "{}" or self.label_column is not None):
            raise ConfigError("--template and --label-column go with --labels", 'E.g. --labels "cat,dog"')
        if self.threshold is not None and self.gallery is None:
            raise ConfigError("--threshold goes with --gallery", "Name the gallery.")
        if str(self.output) == "-" and common.json:
            raise ConfigError("--json and -o - would both write to standard output", "Leave one out.")
