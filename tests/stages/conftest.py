"""What all tests of stages have in common."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from mmcli.models import runners


@pytest.fixture(autouse=True, scope="session")
def _few_timings() -> Generator[None]:
    """Models are timed by a few calls: of what they cost no test asks more than that it was measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runners, "CALLS", dict.fromkeys(runners.CALLS, 3))
        yield


@pytest.fixture
def root(preprocessed: Path, tmp_path: Path) -> Path:
    """A preprocessed table of a picture of 16 pixels and a word."""
    shutil.copytree(preprocessed / "preprocess", tmp_path / "a" / "preprocess")
    return tmp_path / "a"
