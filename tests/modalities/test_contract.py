"""What every modality must do, whatever it is: a new file is tested the moment it exists, by the checks of `mmcli check`."""

from __future__ import annotations

import pytest

from mmcli import registry
from mmcli.checks import Check, modality


@pytest.mark.parametrize("check", modality.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", list(registry.parts("modalities")))
def test_contract(name: str, check: Check) -> None:
    (subject,) = modality.subjects(name)
    check(subject)
