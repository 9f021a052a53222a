"""Every change by REST leaves an entry in the audit log."""

import json

import pytest
from django.db import transaction

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
    "PATCH runs/<uuid:id>/": {"labels": ["seen"], "notes": "looked at"},
    "POST deliveries/<uuid:id>/retry/": {},
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
}
# Asking, and what the event log keeps: messages and the runs they start.
NO_CHANGES = {
    "POST events/",
    "POST conversations/",
    "POST conversations/<uuid:id>/messages/",
    "POST agents/<uuid:id>/test/",
    "POST bindings/resolve/",
    "POST bots/<uuid:id>/check/",
}
# Refused in the state that the rows of these tests have; their services are tested.
ELSEWHERE = {
    "POST apply/": "tests/langbot",
    "POST agents/<uuid:id>/versions/<int:number>/restore/": "same content",
    "DELETE bots/<uuid:id>/": "a bound bot",
    "POST runs/<uuid:id>/cancel/": "an ended run",
    "POST deliveries/<uuid:id>/cancel/": "an ended delivery",
    "POST state/": "compare-and-set",
    "POST conversations/<uuid:id>/reset/": "a live run",
    "POST artifacts/": "multipart",
}


def name_of(route, method):
    return f"{method} {route.path.removeprefix(PREFIX)}"


WRITES = {name_of(*case): case for case in CASES if case[1] != "GET"}


def test_every_write_is_known_to_change_something_or_not():
    known = {*CHANGES, *NO_CHANGES, *ELSEWHERE}
    assert sorted(WRITES) == sorted(known), "add it to this file's tables"


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_change_by_rest_leaves_an_entry(worlds, client_of, name):
    own, _other = worlds
    route, method = WRITES[name]
    before = AuditLog.objects.latest("pk").pk
    with transaction.atomic():
        response = client_of("admin").generic(
            method,
            address(own, route, "admin"),
            json.dumps(CHANGES[name]),
            content_type="application/json",
        )
        entries = list(AuditLog.objects.filter(pk__gt=before))
        transaction.set_rollback(True)
    assert response.status_code < 300, response.content
    assert entries, "no audit entry"
    assert {entry.actor for entry in entries} == {"the-admin"}
    assert all(entry.source.startswith("rest:") for entry in entries)
    assert {entry.workspace for entry in entries} == {own.workspace}
