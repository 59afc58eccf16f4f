"""What processes are told before they import anything that takes long."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mmcli.artifacts.processes import SPINS

ASK = (
    "import sys, mmcli.__main__ as m, mmcli.cli as c\n"
    "c.app = lambda: print(__import__('os').environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)\nm.main()"
)


@pytest.mark.parametrize(
    ("given", "wanted"), [({}, SPINS), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")]
)
def test_threads_wait_asleep_unless_the_user_wants_otherwise(given: dict[str, str], wanted: str) -> None:
    """Told before torch, which reads it once."""
    plain = {name: own for name, own in os.environ.items() if name not in {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}}
    run = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, env=plain | given, check=True)
    assert run.stdout.split() == [wanted, "False"]
