"""What every optimization must do, whatever it is: a new file is tested as it stands, by the checks of `mmcli check`."""

from __future__ import annotations

import pytest

from mmcli import registry
from mmcli.checks import optimization

SILENT = {"aot", "beam", "dim", "prune"}
"""Those that have nothing to do on the tiny model: one has to be asked for, one is for texts, one for vectors, one narrows
convolutions."""


@pytest.mark.slow
@pytest.mark.parametrize("name", list(registry.parts("optimizations")))
def test_contract(name: str) -> None:
    (subject,) = optimization.subjects(name)
    for check in optimization.CHECKS:
        check(subject)
    assert bool(subject.found.made) != (name in SILENT), subject.found.reason
