"""From a table of pictures, text and more to a trained, proven multimodal model.

In Python: `mmcli.load("artifacts").predict("new.csv")`. Importing this package imports neither torch nor pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmcli.models.predictor import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from mmcli.models.predictor import load

        return load
    raise AttributeError(f"module 'mmcli' has no attribute {name!r}")
