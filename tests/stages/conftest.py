"""What all tests of stages have in common."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from mmcli.models import runners


@pytest.fixture(autouse=True, scope="session")
def _few_timings() -> Generator[None]:
    """Models are timed by a few calls: of what they cost no test asks more than that it was measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runners, "CALLS", dict.fromkeys(runners.CALLS, 3))
        yield
