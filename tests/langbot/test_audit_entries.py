"""Every change in the admin and by a command leaves an entry in the audit log."""

import json
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from langbot.core.audit import Author
from langbot.core.models import AuditLog, Membership, ServiceAccount, Workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(db):
    client = Client()
    user = get_user_model().objects.create_superuser("root", password="x")
    client.force_login(user)
    return client


def after_of(entry) -> dict[str, Any]:
    assert entry.after is not None
    return dict(entry.after)


def entries_of(source):
    found = AuditLog.objects.filter(source=source).order_by("pk")
    return [(entry.action, entry.object_type) for entry in found]


def test_users_and_groups_leave_entries_without_passwords(root):
    data = {
        "username": "eva",
        "password1": "a long one 77",
        "password2": "a long one 77",
    }
    data["usable_password"] = "true"
    root.post(reverse("admin:auth_user_add"), data)
    eva = get_user_model().objects.get(username="eva")
    group = {"name": "helpers"}
    root.post(reverse("admin:auth_group_add"), group)
    url = reverse("admin:auth_user_password_change", args=[eva.pk])
    again = {"password1": "another one 88", "password2": "another one 88"}
    root.post(url, {**again, "usable_password": "true"})
    assert entries_of("admin") == [
        ("created", "auth.user"),
        ("created", "auth.group"),
        ("password changed", "auth.user"),
    ]
    created = AuditLog.objects.get(object_type="auth.user", action="created")
    assert after_of(created)["password"] == "[redacted]"


def test_groups_of_a_user_are_in_the_entry(root):
    from django.contrib.auth.models import Group

    eva = get_user_model().objects.create_user("eva")
    page = reverse("admin:auth_user_change", args=[eva.pk])
    form = root.get(page).context["adminform"].form
    data: dict[str, Any] = {
        name: value for name, value in form.initial.items() if isinstance(value, str)
    }
    viewers = Group.objects.get(name="viewers")
    data |= {"groups": [viewers.pk], "is_active": "on"}
    data |= {"date_joined_0": "2026-01-01", "date_joined_1": "10:00:00"}
    root.post(page, data)
    entry = AuditLog.objects.get(action="changed")
    assert entry.before is not None
    assert entry.before["groups"] == []
    assert after_of(entry)["groups"] == ["viewers"]


def test_rows_of_inlines_leave_entries_of_their_own(root, workspace):
    eva = get_user_model().objects.create_user("eva")
    page = reverse("admin:langbot_core_workspace_change", args=[workspace.pk])

    def save(**row):
        data = {
            "name": workspace.name,
            "slug": workspace.slug,
            "retention-TOTAL_FORMS": 0,
            "retention-INITIAL_FORMS": 0,
            "memberships-TOTAL_FORMS": 1,
            "memberships-INITIAL_FORMS": 1 if row.get("id") else 0,
        }
        data |= {f"memberships-0-{name}": value for name, value in row.items()}
        assert root.post(page, data).status_code == 302

    row = {"workspace": workspace.pk, "user": eva.pk}
    save(**row, role="member")
    member = Membership.objects.get(user=eva)
    save(**row, role="admin", id=member.pk)
    save(**row, role="admin", id=member.pk, DELETE="on")
    found = AuditLog.objects.filter(object_type="langbot_core.membership")
    assert [entry.action for entry in found.order_by("pk")] == [
        "created",
        "changed",
        "deleted",
    ]
    changed = found.get(action="changed")
    assert (changed.before, changed.after) == ({"role": "member"}, {"role": "admin"})
    assert changed.workspace == workspace


def test_a_bulk_delete_leaves_an_entry_for_each_row(root, workspace):
    for name in ("eva", "tom"):
        workspace.memberships.create(user=get_user_model().objects.create_user(name))
    chosen = list(Membership.objects.values_list("pk", flat=True))
    data = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    root.post(reverse("admin:langbot_core_membership_changelist"), data)
    assert not Membership.objects.exists()
    assert entries_of("admin") == [("deleted", "langbot_core.membership")] * 2


def test_service_accounts_of_the_admin_leave_entries(root, workspace):
    from django.contrib.auth.models import Group

    viewers = Group.objects.get(name="viewers")
    add = reverse("admin:langbot_core_serviceaccount_add")
    data = {"name": "crm", "workspace": workspace.pk, "groups": [viewers.pk]}
    assert root.post(add, data).status_code == 302
    account = ServiceAccount.objects.get()
    assert not account.user.has_usable_password()
    delete = reverse("admin:langbot_core_serviceaccount_delete", args=[account.pk])
    assert root.post(delete, {"post": "yes"}).status_code == 302
    assert not get_user_model().objects.get(pk=account.user_id).is_active
    kind = "langbot_core.serviceaccount"
    assert entries_of("admin") == [("created", kind), ("deleted", kind)]


@pytest.mark.parametrize(
    ("command", "source"),
    [
        (["createapitoken", "ada"], "command createapitoken"),
        (["createplugintoken", "mine"], "command createplugintoken"),
    ],
)
def test_commands_leave_entries_without_the_token(user, command, source):
    output = StringIO()
    call_command(*command, stdout=output)
    entry = AuditLog.objects.get()
    assert (entry.source, entry.action) == (source, "created")
    assert entry.actor
    assert output.getvalue().strip() not in json.dumps(entry.after)


def test_prune_says_what_it_removed(db):
    from datetime import UTC, datetime, timedelta

    from langbot.core.models import Lease

    call_command("prune", stdout=StringIO())
    assert not AuditLog.objects.exists()  # nothing was due
    old = datetime.now(UTC) - timedelta(days=2)
    Lease.objects.create(name="old", expires_at=old)
    call_command("prune", stdout=StringIO())
    entry = AuditLog.objects.get()
    assert (entry.action, entry.source) == ("pruned", "command prune")
    assert after_of(entry)["leases"] == 1


def test_the_first_run_is_in_the_log(db, settings, tmp_path):
    from langbot.first_run import ensure_plugin_key, first_run

    settings.LANGBOT = {**settings.LANGBOT, "DATA_DIR": tmp_path}
    secrets = first_run()
    ensure_plugin_key()
    made = AuditLog.objects.filter(source="command firstrun")
    kinds = set(made.values_list("object_type", flat=True))
    assert kinds == {
        "auth.user",
        "langbot_core.workspace",
        "langbot_core.membership",
        "langbot_core.apitoken",
        "langbot_agents.plugintoken",
        "langbot_agents.modelprovider",
        "langbot_agents.model",
        "langbot_agents.agent",
        "langbot_agents.agentbinding",
        "langbot_platforms.bot",
    }
    assert made.count() == AuditLog.objects.count()
    told = json.dumps(list(made.values_list("after", flat=True)))
    assert not [secrets[k] for k in ("password", "api_token") if secrets[k] in told]
    assert Workspace.objects.get().audit.exists()


def test_only_who_may_write_secrets_does(workspace, agent):
    from django.core.exceptions import PermissionDenied

    from agents.services import save_agent

    limited = Author("eve", "rest", may_write_secrets=False)
    agent.runner_config = {"api-key": "a new key"}
    with pytest.raises(PermissionDenied):
        save_agent(agent, author=limited)
    save_agent(agent, author="ada")
    agent.name = "Renamed"
    agent.runner_config = {"api-key": "[redacted]"}
    assert save_agent(agent, author=limited).name == "Renamed"
    agent.runner_config = {}  # leaving one out would remove it
    with pytest.raises(PermissionDenied):
        save_agent(agent, author=limited)
