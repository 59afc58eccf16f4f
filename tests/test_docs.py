"""The documents say what the software does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmcli import registry
from mmcli.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TEST_COMMAND = "pip install -e '.[dev]' && pytest"


def test_generated_pages_are_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_ci_runs_the_readmes_test_command() -> None:
    assert f"    {TEST_COMMAND}\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"\n{TEST_COMMAND}\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_documents_exist(page: Path) -> None:
    for command in re.findall(r"^    mmcli ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert command in COMMANDS, f"{page.name}: mmcli {command}"


def test_the_readme_names_every_part_in_its_tree() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The tree")[2]
    for room in registry.ROOMS:
        line = re.search(rf"^      {room}/.*(\n {{20,}}\S.*)*$", readme, re.MULTILINE)
        assert line, room
        for part in registry.parts(room):
            assert part in line.group(), f"{room}: {part}"


def test_pages_count_the_fusions_that_there_are() -> None:
    said = re.compile(r"(\d+) (?:fusions|methods[:| ]|种融合|种方法)")
    pages = [ROOT / "README.md", ROOT / "README.zh.md", ROOT / "docs" / "guide.md"]
    found = {page.name: set(said.findall(page.read_text(encoding="utf-8"))) for page in pages}
    assert found == {page.name: {str(len(registry.parts("fusions")))} for page in pages}
