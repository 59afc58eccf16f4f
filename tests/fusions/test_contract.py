"""What every fusion must do, whatever it is: a new file is tested the moment it exists, by the checks of `mmcli check`."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmcli import checks, registry
from mmcli.checks import Check, fusion
from mmcli.errors import ConfigError


@pytest.mark.parametrize("check", fusion.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", list(registry.parts("fusions")))
def test_contract(name: str, check: Check) -> None:
    (subject,) = fusion.subjects(name)
    check(subject)


MINE = '''
"""Mine."""
from collections.abc import Mapping
import torch
from torch import nn
from mmcli.config import Config as BaseConfig
from mmcli.fusions import Fusion, stacked
from mmcli.signals import Features, Fused

ABOUT = {{"family": "feature", "absent": "{absent}", "ordered": False, "cost": "M", "use": "to test"}}

class Config(BaseConfig):
    """None."""

class Mine(Fusion):
    """Sums projections."""
    def __init__(self, config, dims):
        super().__init__(dims, 4)
        self.own = nn.ModuleList([nn.Linear(dim, 4) for dim in dims.values()])
    @staticmethod
    def parameter_formula(config, dims):
        return sum({formula} for dim in dims.values())
    def forward(self, features):
        pooled, present = stacked(features, {columns})
        return Fused(torch.stack([own(x){masked} for m, (own, x) in enumerate(zip(self.own, pooled))]).sum(0))
'''
GOOD = {"absent": "masked", "formula": "4 * dim + 4", "columns": "self.columns", "masked": " * present[:, m, None]"}


def write(folder: Path, **changes: str) -> str:
    path = folder / "mine.py"
    path.write_text(MINE.format(**{**GOOD, **changes}))
    return f"{path}:Mine"


def test_a_method_of_ones_own_passes(tmp_path: Path) -> None:
    assert [result.found for result in checks.check(write(tmp_path))[1] if not result.passed] == []


@pytest.mark.parametrize(
    ("changes", "failed", "found"),
    [
        ({"masked": ""}, "absent_inputs_count_for_nothing", "row 1 lacks the last column"),
        ({"formula": "4 * dim"}, "parameters_are_as_the_formula_says", "it has 36 parameters, the formula says 32"),
        ({"masked": " * present[:, m, None] + x.mean()"}, "rows_do_not_see_each_other", "row 0 differs when it is alone"),
    ],
)
def test_what_is_wrong_with_one_is_found_and_named(tmp_path: Path, changes: dict[str, str], failed: str, found: str) -> None:
    results = {result.name: result for result in checks.check(write(tmp_path, **changes))[1]}
    assert not results[failed].passed
    assert found in results[failed].found
    assert results["bfloat16"].passed


def test_a_file_without_such_a_class_says_which_there_is(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ConfigError, match=r"has no part called 'Mien'. Did you mean 'Mine'\?"):
        checks.check(f"{tmp_path}/mine.py:Mien")
    with pytest.raises(ConfigError, match=r"has no Fusion called 'Mien'. Did you mean 'Mine'\?"):
        registry.load("fusions", f"{tmp_path}/mine.py:Mien")
    with pytest.raises(ConfigError, match="there is no such file"):
        checks.check(f"{tmp_path}/yours.py")
    (tmp_path / "broken.py").write_text("def")
    with pytest.raises(ConfigError, match="is not valid Python"):
        checks.check(f"{tmp_path}/broken.py")
