"""Every change by REST leaves an entry in the audit log."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import transaction

from agents.models import Agent, AgentBinding
from agents.services import save_agent
from langbot.core.models import AuditLog
from tests.langbot.permissions.test_rest_matrix import CASES, PREFIX, address

pytestmark = pytest.mark.django_db
# What changes something, with a body that is accepted.
CHANGES = {
    "POST agents/": {"slug": "new", "name": "New", "runner": "plugin:a/b/c"},
    "PUT agents/by-slug/<slug:slug>/": {"name": "X", "runner": "plugin:a/b/c"},
    "PATCH agents/<uuid:id>/": {"name": "Renamed"},
    "DELETE agents/<uuid:id>/": {},
    "POST agents/<uuid:id>/clone/": {"slug": "copy", "name": "Copy"},
    "POST bindings/": {"agent": "own-place-agent", "scope": "workspace"},
    "PATCH bindings/<uuid:id>/": {"priority": 7},
    "DELETE bindings/<uuid:id>/": {},
    "POST bots/": {"slug": "b", "name": "B", "adapter": "web"},
    "PATCH bots/<uuid:id>/": {"name": "Renamed"},
    "POST runs/<uuid:id>/retry/": {},
    "PATCH conversations/<uuid:id>/": {"title": "Renamed"},
    "PATCH runs/<uuid:id>/": {"labels": ["seen"], "notes": "looked at"},
    "POST deliveries/<uuid:id>/retry/": {},
    "POST actions/<uuid:id>/resolve/": {"decision": "approve"},
    "DELETE state/<int:id>/": {},
    "PATCH state/<int:id>/": {"value": 2, "version": 1},
    "POST tokens/": {"label": "ci"},
    "PATCH tokens/<uuid:id>/": {"label": "renamed"},
    "DELETE tokens/<uuid:id>/": {},
    "POST service-accounts/": {"name": "bot"},
    "DELETE service-accounts/<uuid:id>/": {},
    "POST service-accounts/<uuid:id>/tokens/": {"label": "x"},
    "DELETE service-accounts/<uuid:id>/tokens/<uuid:token_id>/": {},
    "PATCH artifacts/<uuid:id>/": {"expires_at": "2099-01-01T00:00:00Z"},
    "DELETE artifacts/<uuid:id>/": {},
    "DELETE conversations/<uuid:id>/pending/<uuid:message_id>/": {},
    "POST apply/": {
        "format": "langbot/1",
        "bots": [{"slug": "new", "name": "New", "adapter": "web"}],
    },
    "PUT bots/by-slug/<slug:slug>/": {"name": "Renamed", "adapter": "web"},
    "POST agents/<uuid:id>/versions/<int:number>/restore/": {},
    "DELETE bots/<uuid:id>/": {},
    "POST runs/<uuid:id>/cancel/": {},
    "POST deliveries/<uuid:id>/cancel/": {},
    "POST state/": {},
    "POST conversations/<uuid:id>/reset/": {},
    "POST artifacts/": {},
    "DELETE conversations/<uuid:id>/stream/": {},
    "PATCH usage/me/": {"tier": "pro"},
    "POST quotas/": {"scope": "workspace", "window": "weekly", "limit_microdollars": 5},
    "PATCH quotas/<uuid:id>/": {"enabled": False},
    "DELETE quotas/<uuid:id>/": {},
    "POST prices/": {
        "model": "own-place cloud/own-place model",
        "input_microdollars": 5,
    },
    "PATCH prices/<uuid:id>/": {"input_microdollars": 9},
    "DELETE prices/<uuid:id>/": {},
    "POST tiers/": {"person": "api:user:1", "tier": "pro"},
    "PATCH retention/": {"run_days": 5},
}
# Asking, and what the event log keeps: messages and the runs they start.
NO_CHANGES = {
    "POST events/",
    "POST conversations/",
    "POST conversations/<uuid:id>/messages/",
    "POST agents/<uuid:id>/test/",
    "POST runs/<uuid:id>/steer/",
    "POST runs/<uuid:id>/token/",
    "POST bindings/resolve/",
    "POST bots/<uuid:id>/check/",
}


def rename_agent(own):
    agent = Agent.objects.get(pk=own.rows["langbot_agents.Agent"].pk)
    agent.name = "Renamed"
    save_agent(agent, author="the-admin")


def set_fields(label, **values):
    def prepare(own):
        row = own.rows[f"langbot_{label}"]
        type(row)._default_manager.filter(pk=row.pk).update(**values)

    return prepare


def unbind(_own):
    AgentBinding.objects.all().delete()


def set_state(own):
    run = own.rows["langbot_runners.AgentRun"]
    return {
        "run": str(run.public_id),
        "scope": "conversation",
        "key": "k",
        "value": 1,
        "version": 0,
    }


# What must be so before; a dictionary that is returned is the body.
BEFORE: dict[str, Any] = {
    "POST agents/<uuid:id>/versions/<int:number>/restore/": rename_agent,
    "DELETE bots/<uuid:id>/": unbind,
    "POST runs/<uuid:id>/cancel/": set_fields(
        "runners.AgentRun", status="running", finished_at=None
    ),
    "DELETE conversations/<uuid:id>/stream/": set_fields(
        "runners.AgentRun", status="running", finished_at=None
    ),
    "POST deliveries/<uuid:id>/cancel/": set_fields(
        "runners.Delivery", status="pending"
    ),
    "POST conversations/<uuid:id>/reset/": set_fields(
        "runners.Conversation", transcript_seq=1
    ),
    "POST state/": set_state,
}


def name_of(route, method):
    return f"{method} {route.path.removeprefix(PREFIX)}"


WRITES = {name_of(*case): case for case in CASES if case[1] != "GET"}


def test_every_write_is_known_to_change_something_or_not():
    known = {*CHANGES, *NO_CHANGES}
    assert sorted(WRITES) == sorted(known), "add it to this file's tables"


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_change_by_rest_leaves_an_entry(worlds, client_of, name):
    own, _other = worlds
    route, method = WRITES[name]
    with transaction.atomic():
        body = BEFORE.get(name, lambda _own: None)(own) or CHANGES[name]
        before = AuditLog.objects.latest("pk").pk
        url = address(own, route, "admin")
        if name == "POST artifacts/":
            file = SimpleUploadedFile("a.txt", b"Hello", "text/plain")
            response = client_of("admin").post(url, {"file": file})
        else:
            response = client_of("admin").generic(
                method, url, json.dumps(body), content_type="application/json"
            )
        entries = list(AuditLog.objects.filter(pk__gt=before))
        transaction.set_rollback(True)
    assert response.status_code < 300, response.content
    assert entries, "no audit entry"
    assert {entry.actor for entry in entries} == {"the-admin"}
    assert all(entry.source.startswith("rest:") for entry in entries)
    assert {entry.workspace for entry in entries} == {own.workspace}
