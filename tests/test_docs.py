"""What README and docs name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from biote.commands.dispatch import COMMANDS, TRAINER_COMMANDS
from biote.commands.parsing import shipped_configs

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def test_the_first_two_commands_are_make_demo_and_make_test() -> None:
    block = (ROOT / "README.md").read_text().split("```bash")[1].split("```")[0]
    commands = [line.split("#")[0].strip() for line in block.strip().splitlines()]
    assert commands == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_configs_tests_and_links_exist(page: Path) -> None:
    text = page.read_text()
    code = "\n".join(
        re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`]+)`", text)
    )
    for command in re.findall(r"^biote ([a-z]+)", code, re.MULTILINE):
        assert command in {**COMMANDS, **TRAINER_COMMANDS}, command
    for config in re.findall(r"(?:--config |--model\.\w+ |`)([a-z_]+/[a-z_]+\.yaml)", text):
        assert (shipped_configs() / config).is_file(), config
    for test in re.findall(r"`(tests/[\w/]+\.py)`", text):
        assert (ROOT / test).is_file(), test
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not heading or heading in _anchors(target), link
    for goal in re.findall(r"make ([a-z-]+)`?", text):
        if goal in ("demo", "test", "lint", "bench", "test-full", "format"):
            assert f"\n{goal}:" in (ROOT / "Makefile").read_text()


def _anchors(page: Path) -> set[str]:
    """What links to the headings of a page are made of."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
