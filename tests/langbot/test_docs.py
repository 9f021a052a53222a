"""The documents say what is there."""

import re
from pathlib import Path

import pytest

from langbot.settings_table import DOCUMENT, render
from tests.factories import AgentBindingFactory, AgentFactory, BotFactory

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)\)")
MAKE = re.compile(r"`make ([a-z]+)")
COMMAND = re.compile(r"manage\.py ([a-z]+)")
OUR_COMMANDS = {
    path.stem
    for app in ("langbot/core", "agents", "runners", "platforms")
    for path in (ROOT / app / "management/commands").glob("[a-z]*.py")
}
DJANGO_COMMANDS = {
    "migrate",
    "dumpdata",
    "loaddata",
    "check",
    "makemigrations",
    "compilemessages",
}


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
    assert set(COMMAND.findall(text)) <= {*OUR_COMMANDS, *DJANGO_COMMANDS}


def test_every_command_is_in_the_operations_guide():
    operations = (ROOT / "docs/operations.md").read_text()
    assert OUR_COMMANDS
    assert not [name for name in sorted(OUR_COMMANDS) if f"`{name}" not in operations]


def test_every_document_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert not [
        path.name for path in (ROOT / "docs").glob("*.md") if path.name not in readme
    ]


def test_pictures_are_shown_and_small():
    shown = {
        path
        for document in DOCUMENTS
        for link in LINK.findall(document.read_text())
        if (path := (document.parent / link).resolve()).suffix == ".png"
    }
    pictures = set((ROOT / "docs/images").glob("*.png"))
    assert shown == pictures
    assert sum(path.stat().st_size for path in pictures) < 1.5 * 2**20


def test_the_admins_example_asks_who_would_answer(admin_client, workspace):
    text = (ROOT / "docs/admin.md").read_text()
    (address,) = re.findall(r"```\n(/admin/\S+)\n```", text)
    agent = AgentFactory(workspace=workspace, name="Parrot")
    BotFactory(workspace=workspace, slug="web")
    AgentBindingFactory(agent=agent, scope="bot", scope_ref="web")
    address = address.replace("workspace=1", f"workspace={workspace.pk}")
    answer = admin_client.get(address)
    assert answer.status_code == 200
    assert "Parrot would answer." in answer.content.decode()
