"""The documents say what is there."""

import re
from pathlib import Path

import pytest

from langbot.settings_table import DOCUMENT, render

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)\)")
MAKE = re.compile(r"`make ([a-z]+)")
COMMAND = re.compile(r"manage\.py ([a-z]+)")
DJANGO_COMMANDS = {"migrate", "check", "makemigrations", "compilemessages"}


def ids(path):
    return path.name


def test_the_settings_are_those_of_the_code():
    assert DOCUMENT.read_text() == render(), "run python -m langbot.settings_table"


def test_readme_begins_with_the_two_commands():
    commands = re.findall(r"^make \w+", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands[:2] == ["make run", "make test"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_links_lead_somewhere(document):
    links = [one for one in LINK.findall(document.read_text()) if "://" not in one]
    assert not [one for one in links if not (document.parent / one).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=ids)
def test_commands_that_are_named_exist(document):
    text = document.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(MAKE.findall(text)) <= targets
    folder = ROOT / "langbot/core/management/commands"
    commands = {path.stem for path in folder.glob("*.py")} | DJANGO_COMMANDS
    assert set(COMMAND.findall(text)) <= commands


def test_every_command_is_in_the_operations_guide():
    operations = (ROOT / "docs/operations.md").read_text()
    folder = ROOT / "langbot/core/management/commands"
    names = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert names
    assert not [name for name in sorted(names) if f"`{name}" not in operations]


def test_every_document_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert not [
        path.name for path in (ROOT / "docs").glob("*.md") if path.name not in readme
    ]
