"""Every command of ours is called here, or in `ELSEWHERE`."""

from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from agents.registry.models import PluginToken
from langbot.core.models import ApiToken, IdempotencyKey, Lease
from langbot.lib.secrets import hash_token
from tests.factories import WorkspaceFactory

ROOT = Path(__file__).resolve().parents[2]
ELSEWHERE = {  # those that become another process, and where they run for real
    "runlangbot": "tests/e2e/test_first_start.py",
    "runplugins": "tests/e2e/test_first_start.py",
    "checkplugin": "tests/contract/test_checkplugin.py",
}


def output_of(*command, **options):
    output = StringIO()
    call_command(*command, stdout=output, **options)
    return output.getvalue()


def test_every_command_is_tested_somewhere():
    # Folders whose names begin with a dot hold environments, Django's commands too.
    folders = ROOT.glob("[!.]*/**/management/commands/*.py")
    ours = {path.stem for path in folders if path.stem[0] != "_"}
    called = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert ours >= ELSEWHERE.keys()
    for name in sorted(ours):
        if name in ELSEWHERE:
            assert f'"{name}"' in (ROOT / ELSEWHERE[name]).read_text()
        else:
            assert f'("{name}"' in called, f"no test calls {name}"


def test_createapitoken_prints_a_token_that_works(user, workspace):
    token = output_of("createapitoken", "ada", "--label", "ci", "--days", "2").strip()
    row = ApiToken.objects.active().get(token_hash=hash_token(token))
    assert (row.user, row.workspace, row.label) == (user, workspace, "ci")
    assert row.expires_at is not None
    assert timezone.now() < row.expires_at < timezone.now() + timedelta(days=3)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [(["bob"], "no user bob"), (["ada", "--workspace", "x"], "there are: default")],
)
def test_createapitoken_names_what_is_missing(user, arguments, problem):
    with pytest.raises(CommandError, match=problem):
        call_command("createapitoken", *arguments)


@pytest.mark.parametrize("days", [-1, 0])
def test_createapitoken_makes_no_token_that_is_dead_at_birth(user, workspace, days):
    with pytest.raises(CommandError, match="--days"):
        call_command("createapitoken", user.username, "--days", str(days))
    assert not ApiToken.objects.filter(user=user).exists()


def test_createplugintoken_binds_to_names_and_workspace(workspace):
    WorkspaceFactory(slug="other")
    plain = output_of("createplugintoken", "mine", "--plugin", "acme/helper").strip()
    row = PluginToken.objects.get(token_hash=hash_token(plain))
    assert (row.workspace, row.plugins) == (workspace, ["acme/helper"])
    assert len(plain) >= 32
    output_of("createplugintoken", "b", "--workspace", "other")
    assert PluginToken.objects.filter(label="b", workspace__slug="other").exists()
    output_of("createplugintoken", "c", "--all-workspaces")
    assert PluginToken.objects.get(label="c").workspace is None
    assert not PluginToken.objects.filter(control_plane=True).exists()
    output_of("createplugintoken", "d", "--control-plane")
    assert PluginToken.objects.get(label="d").control_plane


@pytest.mark.parametrize("name", ["helper", "demo/*", "*/x", "**", "a/b/c", "a/b\n"])
def test_createplugintoken_refuses_what_is_no_plugin_name(workspace, name):
    with pytest.raises(CommandError, match="is not AUTHOR/NAME"):
        call_command("createplugintoken", "mine", "--plugin", name)
    assert not PluginToken.objects.exists()


@pytest.mark.django_db
def test_prune_removes_what_is_due_and_nothing_else():
    now = timezone.now()
    for hours in (1, 23, 25, 100):
        row = IdempotencyKey.objects.create(owner="user:1", key=f"{hours}")
        row.created_at = now - timedelta(hours=hours)
        row.save()
    Lease.objects.create(name="old", expires_at=now - timedelta(hours=25))
    Lease.objects.create(name="new", expires_at=now - timedelta(hours=1))
    answer = output_of("prune")
    assert "idempotent answers: 2" in answer
    assert "artifacts: 0" in answer
    assert {row.key for row in IdempotencyKey.objects.all()} == {"1", "23"}
    assert [row.name for row in Lease.objects.all()] == ["new"]
    assert "idempotent answers: 0" in output_of("prune")


@pytest.mark.django_db
def test_prune_says_it_once(caplog):
    with caplog.at_level("INFO", "langbot.core.retention"):
        assert "leases: 0" in output_of("prune")
    assert caplog.messages == []


@pytest.mark.django_db
def test_checklangbot_is_quiet_when_all_is_well():
    assert "no errors" in output_of("checklangbot")


@pytest.mark.django_db
def test_checklangbot_names_what_does_not_answer(settings):
    from langbot.lib.redis import quick_client

    quick_client.cache_clear()
    address = "redis://127.0.0.1:1/0"
    settings.LANGBOT = {**settings.LANGBOT, "REDIS_URL": address}
    output = StringIO()
    with pytest.raises(CommandError, match="problems were found"):
        call_command("checklangbot", stdout=output)
    assert "langbot.E006" in output.getvalue()
    quick_client.cache_clear()
