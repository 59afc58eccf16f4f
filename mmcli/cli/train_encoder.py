"""mmcli train-encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmcli.cli.binding import bound
from mmcli.options.train_encoder import Options

if TYPE_CHECKING:
    from mmcli.stages import Context, Outcome


@bound(Options, stage="train-encoder")
def command(options: Options, context: Context) -> Outcome:
    """Train one sub-model per column: a CNN for pictures, an RNN or n-grams for text."""
    options.check()
    options.foresee(context.root)
    from mmcli.stages import train_encoder

    return train_encoder.run(options, context)
