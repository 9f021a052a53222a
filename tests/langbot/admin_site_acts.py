"""What the audit test posts to each page of the admin, and what has to be so before."""

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from agents.models import (
    Agent,
    AgentBinding,
    Model,
    PackageProcess,
    Quota,
    QuotaWindow,
)
from langbot.core.models import Workspace
from runners.choices import DeliveryStatus
from runners.models import AgentRun, Delivery, PendingAction
from tests.langbot.admin_site_rows import SECRET

PASSWORD = "a long one 77"


# What is posted to make a row, and over a row's own form to change it.
ADDED: dict[str, Any] = {
    "auth.Group": lambda: {"name": "helpers"},
    "auth.User": lambda: {
        "username": "eva",
        "password1": PASSWORD,
        "password2": PASSWORD,
        "usable_password": "true",
    },
    "langbot_agents.Agent": lambda: {
        "name": "New",
        "slug": "new",
        "workspace": Workspace.objects.get().pk,
        "runner_id": "plugin:acme/tools/main",
        "config__api-key": SECRET,
    },
    "langbot_agents.AgentBinding": lambda: {
        "agent": Agent.objects.get().pk,
        "scope": "workspace",
        "event_pattern": "message.*",
        "priority": 3,
        "enabled": "on",
    },
    "langbot_agents.Model": lambda: {
        "provider": Model.objects.get().provider_id,
        "name": "larger",
        "kind": "llm",
        "extra_args": "{}",
        "enabled": "on",
    },
    "langbot_agents.ModelProvider": lambda: {
        "name": "Second",
        "workspace": Workspace.objects.get().pk,
        "kind": "openai",
        "base_url": "https://b.test",
        "api_key": SECRET,
        "timeout_seconds": 9,
        "enabled": "on",
    },
    "langbot_agents.PersonTier": lambda: {
        "workspace": Workspace.objects.get().pk,
        "person": "api:user:9",
        "tier": "pro",
    },
    "langbot_agents.PluginToken": lambda: {"label": "Two", "plugins": ""},
    "langbot_agents.Quota": lambda: {
        "workspace": Workspace.objects.get().pk,
        "scope": "workspace",
        "window": "weekly",
        "limit_microdollars": 5000,
        "enabled": "on",
    },
    "langbot_core.ApiToken": lambda: {
        "label": "Two",
        "user": get_user_model().objects.get(username="root").pk,
        "workspace": Workspace.objects.get().pk,
        "scopes": [],
    },
    "langbot_core.Membership": lambda: {
        "user": get_user_model().objects.get(username="root").pk,
        "workspace": Workspace.objects.get().pk,
        "role": "member",
    },
    "langbot_core.NotificationPreference": lambda: {
        "workspace": Workspace.objects.get().pk,
        "user": get_user_model().objects.get(username="root").pk,
    },
    "langbot_core.ServiceAccount": lambda: {
        "name": "erp",
        "workspace": Workspace.objects.get().pk,
        "groups": [Group.objects.get(name="viewers").pk],
    },
    "langbot_core.Workspace": lambda: {"name": "Two", "slug": "two"},
    "langbot_platforms.Bot": lambda: {
        "name": "Web",
        "slug": "web",
        "workspace": Workspace.objects.get().pk,
        "adapter": "web",
        "enabled": "on",
    },
}
CHANGED: dict[str, dict[str, Any]] = {
    "auth.Group": {"name": "helpers"},
    "auth.User": {"first_name": "Bob"},
    "langbot_agents.Agent": {"name": "Renamed"},
    "langbot_agents.AgentBinding": {"priority": 7},
    "langbot_agents.Model": {"name": "renamed"},
    "langbot_agents.ModelProvider": {"name": "Renamed"},
    "langbot_agents.PersonTier": {"tier": "business"},
    "langbot_agents.PluginToken": {"label": "Renamed"},
    "langbot_agents.Quota": {"limit_microdollars": 7},
    "langbot_agents.RunnerDescriptor": {"enabled": ""},
    "langbot_core.ApiToken": {"label": "Renamed"},
    "langbot_core.Membership": {"role": "admin"},
    "langbot_core.NotificationPreference": {"bot": ""},
    "langbot_core.ServiceAccount": {"description": "Another"},
    "langbot_core.Workspace": {"name": "Renamed"},
    "langbot_platforms.Bot": {"name": "Renamed"},
    "langbot_runners.AgentRun": {"notes": "looked at"},
    "langbot_runners.Conversation": {"title": "Renamed"},
}


def archive(model):
    rows = model._default_manager
    rows.update(archived_at=datetime.now(UTC), enabled=False)


def switch_off(model):
    model._default_manager.update(enabled=False)


def end_deliveries():
    Delivery.objects.update(status=DeliveryStatus.FAILED)


def unbind():
    AgentBinding.objects.all().delete()


def use_up():
    """Give the budget of a day a limit, and spend it."""
    window = QuotaWindow.objects.get()
    Quota.objects.create(
        workspace=window.workspace,
        scope=window.scope,
        agent_id=int(window.subject),
        window=window.window,
        limit_microdollars=1,
    )


def open_approval():
    return PendingAction.objects.open().filter(kind="approval").latest("pk")


# What has to be so before an action does something: of one page, and of every page.
READY: dict[str, Any] = {
    "delete_selected langbot_platforms.Bot": unbind,
    "delete langbot_platforms.Bot": unbind,
    "retry langbot_runners.Delivery": end_deliveries,
    "grant langbot_agents.QuotaWindow": use_up,
    "start langbot_agents.Plugin": lambda: PackageProcess.objects.update(
        is_wanted=False
    ),
}
FIRST = {"enable": switch_off, "unarchive": archive, "restore": archive}


def new_person():
    return get_user_model().objects.create_user("tom")


# Which row an action is for, where the first would refuse it.
CHOSEN: dict[str, Any] = {
    "approve langbot_runners.PendingAction": open_approval,
    "reject langbot_runners.PendingAction": open_approval,
    "cancel langbot_runners.AgentRun": lambda: AgentRun.objects.get(status="running"),
    "run_now langbot_runners.AgentRun": lambda: AgentRun.objects.get(status="running"),
    "replay langbot_runners.EventLog": lambda: (
        AgentRun.objects.get(status="running").event
    ),
    # Who has a token stays, so that the log can name them.
    "delete auth.User": new_person,
    "delete_selected auth.User": new_person,
}
# Refused in the state that the rows of this test have; their own tests say the rest.
ELSEWHERE = {
    "run_now langbot_runners.AgentRun": "tests/runners/test_admin_runs.py",
    "add langbot_agents.Plugin": "an upload: tests/agents",
    "change langbot_agents.Plugin": "a page of acts, without a form to save",
    "erase_people langbot_runners.Conversation": "tests/runners/test_people.py",
    "delete langbot_core.Workspace": "its records protect it",
    "delete_selected langbot_core.Workspace": "its records protect it",
}
