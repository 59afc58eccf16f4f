"""What `evaluate` is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mmcli.errors import ConfigError, unknown
from mmcli.media import addresses
from mmcli.options.columns import AllowMissing, FetchTimeout, MediaRoot
from mmcli.options.common import All
from mmcli.options.flags import Flag
from mmcli.options.made import columns_of, require_fused
from mmcli.tables.finding import require_file


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command's flags say."""

    new: Annotated[
        Path | None,
        Flag(
            "",
            "A new table with the target: scores the model on it; writes nothing.",
            metavar="[TABLE]",
            show_default=False,
        ),
    ] = None

    slices: Annotated[
        tuple[str, ...],
        Flag("--slice", "Also tell the score by each value of this column of the table. Repeat.", metavar="COL"),
    ] = ()
    """Besides those found."""
    contrast: Annotated[
        tuple[str, ...],
        Flag(
            "--contrast", "Also tell how often the right text is likelier than the one in this column. Repeat.", metavar="COL"
        ),
    ] = ()
    """Texts that differ from the right one in something that only a close look tells."""
    quick: Annotated[
        bool, Flag("--quick", "Leave out the curves under noise and with hidden words, and the test for interactions.")
    ] = False
    """Those run the encoders, or many pairs of rows."""
    compare: Annotated[
        tuple[Path, Path] | None,
        Flag("--compare", "Set two evaluations side by side, and write nothing else.", metavar="A B", show_default=False),
    ] = None
    all: All = False
    media_root: MediaRoot = None
    allow_missing: AllowMissing = False
    fetch_timeout: FetchTimeout = 10.0
    """Of the media of a new table."""

    def foresee(self, root: Path) -> None:
        """Looks for a model, and for the columns to slice by, before torch is imported.

        Raises:
            ArtifactError: there is no fused model under the root.
            ConfigError: the table that was preprocessed has no such column.
        """
        if self.compare is not None:
            return
        require_fused(root)
        known = columns_of(root) if self.slices and self.new is None else []
        missing = [name for name in self.slices if known and name not in known]
        if missing:
            raise ConfigError(f"--slice {missing[0]}: {unknown('column', missing[0], known)}")

    def check(self) -> None:
        """Looks at the table before torch is imported.

        Raises:
            ConfigError: there is no such file, or what is asked besides is of no use for a new table.
        """
        if self.new is None:
            if self.media_root is not None or self.allow_missing:
                flag = "--allow-missing" if self.allow_missing else "--media-root DIR"
                raise ConfigError(f"{flag.split()[0]} is for a new table", f"E.g. mmcli evaluate new.csv {flag}")
            return
        require_file(self.new)
        addresses.wait(self.fetch_timeout)
        if self.quick or self.compare is not None or self.contrast:
            flag = "--quick" if self.quick else "--contrast" if self.contrast else "--compare"
            raise ConfigError(f"{flag} is not for a new table: {self.new}", "Leave one of them out.")
