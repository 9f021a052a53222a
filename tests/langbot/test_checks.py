"""Misconfiguration is named by id."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core import checks as django_checks

from langbot import checks

ROOT = Path(__file__).resolve().parents[2]


def ids(*, deploy=False):
    found = django_checks.run_checks(include_deployment_checks=deploy)
    return {message.id for message in found if (message.id or "").startswith("langbot")}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, set()),
        ({"SECRET_KEYS": [], "SECRET_KEYS_FILE": None}, {"langbot.E003"}),
        ({"SECRET_KEYS": ["not a key"]}, {"langbot.E003"}),
        ({"REDIS_URL": "127.0.0.1:6379"}, {"langbot.E004"}),
        ({"NO_SUCH_SETTING": 1}, {"langbot.E002"}),
        ({"LIMITS": {"run_seconds": 100}}, {"langbot.E002"}),
        ({"LIMITS": {"idle_seconds": 200}}, {"langbot.E002"}),
        ({"LIMITS": {"node_dead_seconds": 3}}, {"langbot.E002"}),
        ({"LIMITS": {"connection_life_seconds": 4}}, {"langbot.E002"}),
        ({"DATA_DIR": f"{__file__}/below"}, {"langbot.E005"}),
        ({"DATA_DIR": __file__}, {"langbot.E005"}),
    ],
)
def test_settings_are_checked(settings, changed, expected):
    settings.LANGBOT = {**settings.LANGBOT, **changed}
    assert ids() == expected


def test_a_folder_that_is_made_later_is_fine(settings, tmp_path):
    folder = tmp_path / "made" / "later"
    settings.LANGBOT = {**settings.LANGBOT, "DATA_DIR": folder}
    assert ids() == set()


@pytest.mark.parametrize("name", ["agents", "langbot"])
def test_another_package_of_our_name_is_named(monkeypatch, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    [warning] = checks.check_rival_packages()
    assert warning.id == "langbot.W001"
    assert repr(name) in warning.msg


def test_a_rival_that_lies_between_our_files_is_named(monkeypatch, tmp_path):
    metadata = tmp_path / "openai_agents-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: openai-agents\nVersion: 1.0\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    [warning] = checks.check_rival_packages()
    assert "openai-agents" in warning.msg


def test_deployment_checks_name_what_production_needs(settings):
    settings.LANGBOT = {**settings.LANGBOT, "OUTBOUND_ALLOW": ["0.0.0.0/0"]}
    found = ids(deploy=True)
    assert {"langbot.W002", "langbot.W004"} <= found
    assert ("langbot.W003" in found) == (not os.environ.get("DATABASE_URL"))


def test_every_id_is_documented():
    sources = ("langbot/checks.py", "langbot/lib/fields.py")
    text = "".join((ROOT / source).read_text() for source in sources)
    operations = (ROOT / "docs/operations.md").read_text()
    known = set(re.findall(r"langbot\.[EW]\d{3}", text))
    assert known
    assert not [one for one in sorted(known) if one not in operations]


def test_the_production_environment_passes_djangos_deployment_checks(tmp_path):
    """Nothing listens on port 1: a check that asks the database would fail."""
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "langbot.settings",
        "LANGBOT_DATA_DIR": str(tmp_path),
        "DATABASE_URL": "postgresql://langbot:x@127.0.0.1:1/langbot",
        "REDIS_URL": "rediss://redis.example:6379/0",
        "SECRET_KEY": Fernet.generate_key().decode() * 2,
        "LANGBOT_SECRET_KEYS": Fernet.generate_key().decode(),
        "LANGBOT_PUBLIC_URL": "https://agents.example",
        "LANGBOT_HTTPS": "true",
        "ALLOWED_HOSTS": "agents.example",
    }
    command = [sys.executable, "manage.py", "check", "--deploy"]
    answer = subprocess.run(
        [*command, "--fail-level", "WARNING"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
