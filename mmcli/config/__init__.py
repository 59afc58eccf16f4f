"""Options in files, the environment and `--set`: gathered, checked at once, handed to the parts. Knows no command, no part."""

from __future__ import annotations

from mmcli.config.base import Config, validate

__all__ = ["Config", "validate"]
