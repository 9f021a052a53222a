"""`manage.py rotatesecrets`: a new key while everything runs."""

import json
import signal
import subprocess
import sys
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from agents.models import Agent, ModelProvider
from agents.services import save_agent
from langbot.checks import secret_checks
from langbot.core import rotation
from langbot.core.models import AuditLog, IdempotencyKey
from langbot.lib.key_ring import KeyFileError, alone, current_keys
from langbot.lib.secrets import encrypt
from runners.models import AgentRun
from runners.public import start_run

PLAIN = "sk-very-secret"


@pytest.fixture
def keys(settings, tmp_path):
    """A key file of the test's own, with one key."""
    path = tmp_path / "secret.key"
    path.write_text(Fernet.generate_key().decode())
    own = {"SECRET_KEYS": [], "SECRET_KEYS_FILE": path}
    settings.LANGBOT = {**settings.LANGBOT, **own}
    return path


@pytest.fixture
def secrets(keys, workspace, agent):
    """One secret of each kind."""
    provider = ModelProvider.objects.create(
        workspace=workspace, name="rotated", api_key=PLAIN
    )
    ModelProvider.objects.create(workspace=workspace, name="without", api_key="")
    agent.runner_config = {"api-key": PLAIN, "prompt": "be kind"}
    save_agent(agent, author="test")
    sealed = Agent.objects.get(pk=agent.pk).runner_config
    run = AgentRun.objects.get(public_id=str(start_run(agent, "hi").run_id))
    run.snapshot = {"runner_config": sealed, "more": [1]}
    run.save(update_fields=["snapshot"])
    answer = {"sealed": encrypt(json.dumps({"data": PLAIN}))}
    kept = IdempotencyKey.objects.create(
        owner="o", key="k", request_hash="h", answer=answer
    )
    return provider, agent, run, kept


def rotate(*options):
    out = StringIO()
    call_command("rotatesecrets", *options, stdout=out)
    return out.getvalue()


def in_clear(secrets):
    from agents.config_secrets import reveal_config
    from langbot.lib.secrets import decrypt

    provider, agent, run, kept = [type(one).objects.get(pk=one.pk) for one in secrets]
    return [
        provider.api_key,
        reveal_config(agent.runner_config)["api-key"],
        reveal_config(run.snapshot["runner_config"])["api-key"],
        json.loads(decrypt(kept.answer["sealed"]))["data"],
    ]


def only_newest(keys):
    """Leave only the first key in the file."""
    keys.write_text(keys.read_text().split()[0])


def test_every_kind_of_secret_moves_to_the_new_key(keys, secrets):
    old = keys.read_text()
    updated = ModelProvider.objects.get(name="rotated").public_id
    rotate()
    new, *rest = keys.read_text().split()
    assert rest == [old]
    assert keys.stat().st_mode & 0o777 == 0o600
    only_newest(keys)
    assert in_clear(secrets) == [PLAIN] * 4
    assert ModelProvider.objects.get(name="without").api_key == ""
    assert ModelProvider.objects.get(name="rotated").public_id == updated
    assert AgentRun.objects.get(pk=secrets[2].pk).snapshot["more"] == [1]
    assert current_keys() == (new,)


def test_it_is_in_the_audit_log_without_a_key(keys, secrets):
    rotate()
    entry = AuditLog.objects.get(action="rotated secrets")
    assert entry.source == "command rotatesecrets"
    assert entry.after is not None
    assert entry.after["rewritten"] == 4
    assert entry.after["places"]["langbot_agents.Agent.runner_config"] == 1
    text = json.dumps(entry.after)
    assert PLAIN not in text
    assert all(key not in text for key in keys.read_text().split())


def test_a_dry_run_counts_and_changes_nothing(keys, secrets):
    before = keys.read_text()
    output = rotate("--dry-run")
    assert "langbot_agents.ModelProvider.api_key: 1 newest key, 0 older" in output
    assert "langbot_runners.AgentRun.snapshot: 1 newest key" in output
    assert "0 rows were written." in output
    assert keys.read_text() == before
    assert not AuditLog.objects.filter(action="rotated secrets").exists()


def test_a_broken_off_rotation_goes_on_with_its_key(keys, secrets):
    first = rotation.begin_rotation()
    assert rotation.count_secrets().older == 4
    assert rotation.begin_rotation() == first
    assert len(keys.read_text().split()) == 2
    assert rotation.rewrite_secrets("test").rewritten == 4
    assert rotation.begin_rotation() != first


def test_old_keys_go_only_when_nothing_needs_them(keys, secrets):
    rotation.begin_rotation()
    with pytest.raises(rotation.SecretsLeftError, match="4 secrets"):
        rotation.forget_old_keys("test")
    assert "1 old keys are gone." in rotate("--forget-old")
    assert len(keys.read_text().split()) == 1
    assert in_clear(secrets) == [PLAIN] * 4


def test_two_rotations_do_not_meet(keys, secrets):
    with alone(), pytest.raises(CommandError, match="another rotation"):
        rotate()
    with alone(), pytest.raises(KeyFileError), alone():
        pass
    assert len(keys.read_text().split()) == 1


def test_what_no_key_reads_is_left_and_named(keys, secrets):
    lost = Fernet(Fernet.generate_key()).encrypt(b"gone").decode()
    answer = {"sealed": lost}
    row = IdempotencyKey.objects.create(
        owner="o", key="k2", request_hash="h", answer=answer
    )
    assert [found.id for found in secret_checks()] == ["langbot.E009"]
    assert f"langbot_core.IdempotencyKey.answer of row {row.pk}" in str(
        secret_checks()[0]
    )
    with pytest.raises(CommandError, match="1 secrets cannot be read"):
        rotate()
    row.refresh_from_db()
    assert row.answer == answer
    assert in_clear(secrets) == [PLAIN] * 4


def test_listed_keys_are_the_operators(settings, secrets, keys):
    old = keys.read_text()
    new = Fernet.generate_key().decode()
    settings.LANGBOT = {**settings.LANGBOT, "SECRET_KEYS": [old]}
    with pytest.raises(CommandError, match="put a new one first"):
        rotate()
    settings.LANGBOT = {**settings.LANGBOT, "SECRET_KEYS": [new, old]}
    assert "4 rows were written." in rotate()
    with pytest.raises(CommandError, match="old keys stay"):
        rotate("--forget-old")
    settings.LANGBOT = {**settings.LANGBOT, "SECRET_KEYS": [new]}
    assert in_clear(secrets) == [PLAIN] * 4


ROWS = 600
# Reads and writes a secret when it is told to, with the keys it has then.
RUNNING = """
import sys, django
django.setup()
from agents.models import ModelProvider
for line in sys.stdin:
    name, value = line.split()
    row = ModelProvider.objects.get(name=name)
    sys.stdout.write(row.api_key + "\\n")
    sys.stdout.flush()
    row.api_key = value
    row.save()
    sys.stdout.write("saved\\n")
    sys.stdout.flush()
"""


@pytest.fixture
def many(process_environment, workspace, settings, tmp_path):
    """Rows enough for a rotation to be killed in its middle, under one key."""
    path = tmp_path / "secret.key"
    path.write_text(Fernet.generate_key().decode())
    own = {"SECRET_KEYS": [], "SECRET_KEYS_FILE": path}
    settings.LANGBOT = {**settings.LANGBOT, **own}
    ModelProvider.objects.bulk_create(
        ModelProvider(workspace=workspace, name=f"p{n}", api_key=f"{PLAIN}-{n}")
        for n in range(ROWS)
    )
    variables = {"LANGBOT_DATA_DIR": str(tmp_path), "LANGBOT_SECRET_KEYS": ""}
    return path, {**process_environment, **variables}


def readable():
    return sorted(ModelProvider.objects.values_list("api_key", flat=True))


EXPECTED = sorted(f"{PLAIN}-{n}" for n in range(ROWS))


@pytest.mark.timeout(300)
def test_a_killed_rotation_loses_nothing_and_goes_on(many):
    path, environment = many
    command = [sys.executable, "manage.py", "rotatesecrets"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while len(path.read_text().split()) == 1:
        assert process.poll() is None
    while rotation.count_secrets().counts[PROVIDERS].newest == 0:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    ring, was_midway = path.read_text(), rotation.count_secrets().older > 0
    assert len(ring.split()) == 2
    assert readable() == EXPECTED
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert not was_midway or path.read_text() == ring
    count = rotation.count_secrets().counts[PROVIDERS]
    assert (count.newest, count.older, count.unreadable) == (ROWS, 0, 0)
    only_newest(path)
    assert readable() == EXPECTED


@pytest.mark.timeout(300)
def test_a_process_with_the_old_key_learns_the_new_one(many):
    path, environment = many
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNING],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    told, said = process.stdin, process.stdout
    assert told is not None
    assert said is not None

    def ask(name, value):
        told.write(f"{name} {value}\n")
        told.flush()
        return [said.readline().strip() for _ in range(2)]

    assert ask("p0", f"{PLAIN}-0") == [f"{PLAIN}-0", "saved"]
    call_command("rotatesecrets", "--forget-old", stdout=StringIO())
    assert len(path.read_text().split()) == 1
    assert ask("p1", f"{PLAIN}-1") == [f"{PLAIN}-1", "saved"]
    told.close()
    assert process.wait(20) == 0
    assert rotation.count_secrets().counts[PROVIDERS].newest == ROWS
    assert readable() == EXPECTED


PROVIDERS = "langbot_agents.ModelProvider.api_key"
