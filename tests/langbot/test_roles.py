"""The groups that ship: what they begin with, and that narrowing one lasts."""

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from langbot.core.accounts import create_service_account, may_act_as, may_grant
from langbot.core.models import Membership, RoleGrant, Workspace
from langbot.core.roles import LABELS, grant_rights
from tests.factories import WorkspaceFactory

pytestmark = pytest.mark.django_db
CUSTOM = {
    "langbot_runners.cancel_run": {"admins", "operators"},
    "langbot_runners.resolve_action": {"admins", "approvers"},
    "langbot_runners.take_over": {"admins", "operators"},
    "langbot_runners.view_raw_payload": {"admins", "auditors"},
    "langbot_runners.view_cost": {"admins", "auditors"},
    "langbot_core.manage_secrets": {"admins"},
    "langbot_core.view_auditlog": {"admins", "auditors"},
    "langbot_agents.change_agent": {"admins"},
    "langbot_agents.view_agent": set(LABELS),
    "langbot_runners.view_agentrun": set(LABELS),
}


def again():
    grant_rights(apps.get_app_config("langbot_core"))


def rights_of(group):
    rows = Group.objects.get(name=group).permissions.select_related("content_type")
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows}


def person(*groups, **fields):
    user = get_user_model().objects.create_user("-".join(groups) or "x", **fields)
    user.groups.set(Group.objects.filter(name__in=groups))
    return user


@pytest.mark.parametrize("right", sorted(CUSTOM))
def test_rights_are_in_the_groups_that_need_them(right):
    assert {group for group in LABELS if right in rights_of(group)} == CUSTOM[right]


def test_no_group_may_touch_users_groups_or_what_is_not_ours():
    for group in LABELS:
        assert all(right.startswith("langbot_") for right in rights_of(group))


def test_granting_twice_changes_nothing():
    before = {group: rights_of(group) for group in LABELS}
    again()
    call_command("migrate", verbosity=0)
    assert {group: rights_of(group) for group in LABELS} == before


def test_what_an_admin_took_away_stays_away():
    group = Group.objects.get(name="operators")
    group.permissions.remove(Permission.objects.get(codename="cancel_run"))
    again()
    assert "langbot_runners.cancel_run" not in rights_of("operators")


def test_what_an_admin_added_stays():
    Group.objects.get(name="viewers").permissions.add(
        Permission.objects.get(codename="cancel_run")
    )
    again()
    assert "langbot_runners.cancel_run" in rights_of("viewers")


def test_a_new_permission_reaches_its_groups():
    for name in ("admins", "operators"):
        Group.objects.get(name=name).permissions.clear()
    RoleGrant.objects.filter(permission="langbot_runners.cancel_run").delete()
    again()
    assert rights_of("operators") == {"langbot_runners.cancel_run"}


def test_a_deleted_group_does_not_come_back():
    Group.objects.get(name="approvers").delete()
    again()
    assert not Group.objects.filter(name="approvers").exists()


def test_a_group_of_somebody_else_is_left_alone():
    Group.objects.filter(name="admins").delete()
    RoleGrant.objects.filter(role="admins").delete()
    Group.objects.create(name="admins")  # the project's own, from before
    again()
    assert rights_of("admins") == set()


@pytest.mark.django_db(transaction=True)
def test_the_groups_are_there_after_a_flush():
    call_command("flush", interactive=False, verbosity=0)
    assert set(LABELS) <= set(Group.objects.values_list("name", flat=True))
    assert "langbot_runners.cancel_run" in rights_of("operators")


def test_nobody_gives_more_rights_than_they_have(workspace):
    operator, admin = person("operators"), person("admins")
    root = get_user_model().objects.create_superuser("root")
    account = create_service_account(
        workspace, "bot", author="ada", groups=["admins"]
    ).user
    assert may_act_as(admin, account)
    assert may_act_as(operator, operator)
    assert not may_act_as(operator, account)
    assert not may_act_as(admin, root)
    assert may_act_as(root, root)
    assert may_grant(operator, ["viewers"])
    assert not may_grant(operator, ["viewers", "admins"])


def admin_of(workspace, role):
    user = person("admins", is_staff=True)
    workspace.memberships.create(user=user, role=role)
    client = Client()
    client.force_login(user)
    return user, client


def test_members_are_changed_by_the_workspaces_own_admins_only(workspace):
    user, client = admin_of(workspace, "member")
    other = workspace.memberships.create(user=person("viewers"))
    url = reverse("admin:langbot_core_membership_change", args=[other.pk])
    body = {"user": other.user_id, "workspace": workspace.pk, "role": "admin"}
    assert client.get(url).status_code == 200
    assert client.post(url, body).status_code == 404
    Membership.objects.filter(user=user).update(role="admin")
    assert client.post(url, body).status_code == 302
    other.refresh_from_db()
    assert other.role == "admin"


def test_nobody_makes_themselves_a_member_elsewhere(workspace):
    user, client = admin_of(workspace, "admin")
    other = WorkspaceFactory.create(slug="other")
    body = {"user": user.pk, "workspace": other.pk, "role": "admin"}
    response = client.post(reverse("admin:langbot_core_membership_add"), body)
    assert response.status_code == 200  # the form comes back
    assert not other.memberships.exists()


def test_a_token_of_somebody_else_is_not_made_in_the_admin(workspace):
    _user, client = admin_of(workspace, "admin")
    root = get_user_model().objects.create_superuser("root")
    workspace.memberships.create(user=root)
    body = {"label": "mine", "user": root.pk, "workspace": workspace.pk, "scopes": ""}
    body |= {"expires_at_0": "", "expires_at_1": ""}
    url = reverse("admin:langbot_core_apitoken_add")
    assert client.post(url, body).status_code == 200
    assert not root.langbot_tokens.exists()


def test_a_member_of_two_workspaces_sees_and_changes_both(workspace, agent):
    from agents.models import Agent
    from tests.factories import AgentFactory

    user, client = admin_of(workspace, "member")
    second = AgentFactory.create(workspace=WorkspaceFactory.create(slug="second"))
    third = AgentFactory.create(workspace=WorkspaceFactory.create(slug="third"))
    second.workspace.memberships.create(user=user)
    url = reverse("admin:langbot_agents_agent_changelist")
    shown = set(client.get(url).context["cl"].queryset)
    assert shown == {agent, second}
    chosen = [agent.pk, second.pk, third.pk]
    client.post(url, {"action": "disable", "_selected_action": chosen})
    assert set(Agent.objects.filter(enabled=True)) == {third}


def test_no_row_moves_to_another_workspace(workspace):
    from agents.models import ModelProvider

    user, client = admin_of(workspace, "member")
    second = Workspace.objects.create(slug="second", name="Second")
    second.memberships.create(user=user)
    provider = ModelProvider.objects.create(workspace=workspace, name="Cloud")
    url = reverse("admin:langbot_agents_modelprovider_change", args=[provider.pk])
    form = client.get(url).context["adminform"].form
    body = {n: v for n, v in form.initial.items() if v not in (None, [])}
    body |= {"workspace": second.pk, "name": "Moved", "models-TOTAL_FORMS": 0}
    body |= {"models-INITIAL_FORMS": 0, "opened_with": form["opened_with"].value()}
    assert client.post(url, body).status_code == 302
    provider.refresh_from_db()
    assert (provider.name, provider.workspace) == ("Moved", workspace)


def test_shared_runners_are_read_by_all_and_changed_by_nobody_below(workspace):
    from agents.models import RunnerDescriptor

    _user, client = admin_of(workspace, "admin")
    shared = RunnerDescriptor.objects.create(runner_id="plugin:langbot/echo/default")
    url = reverse("admin:langbot_agents_runnerdescriptor_changelist")
    assert shared in client.get(url).context["cl"].queryset
    page = reverse("admin:langbot_agents_runnerdescriptor_change", args=[shared.pk])
    assert 'name="_save"' not in client.get(page).content.decode()
    assert client.post(page, {}).status_code == 404
    client.post(url, {"action": "disable", "_selected_action": [shared.pk]})
    shared.refresh_from_db()
    assert shared.enabled


def test_only_superusers_bind_every_workspace_in_the_admin(workspace, agent):
    from agents.models import AgentBinding

    _user, client = admin_of(workspace, "admin")
    url = reverse("admin:langbot_agents_agentbinding_add")
    body = {"agent": agent.pk, "scope": "global", "event_pattern": "*", "priority": 0}
    refused = client.post(url, body)
    assert "scope" in refused.context["adminform"].form.errors
    binding = AgentBinding.objects.create(agent=agent, scope="global")
    page = reverse("admin:langbot_agents_agentbinding_change", args=[binding.pk])
    assert 'name="_save"' not in client.get(page).content.decode()
    assert client.post(page, body).status_code == 403
