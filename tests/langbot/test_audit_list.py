"""The list of the audit log says in words what was done, and to what by name."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.models import Agent
from langbot.core.audit import record_act, record_host_act
from langbot.core.models import AuditLog
from tests.langbot.admin_site_rows import populate

LIST = "admin:langbot_core_auditlog_changelist"


@pytest.fixture
def staff(client, db):
    populate()
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


def body_of(client, **headers):
    return client.get(reverse(LIST), headers=headers).content.decode()


def test_each_object_is_named_and_linked(staff):
    AuditLog.objects.all().purge()
    agent: Any = Agent.objects.get(slug="helper")
    binding = agent.bindings.first()
    person = get_user_model().objects.get(username="root")
    for row in (agent, binding, agent.workspace, person):
        record_act("root", "changed", row)
    record_host_act("root", "pruned", {"leases": 1})
    body = body_of(staff)
    for row in (agent, binding, agent.workspace, person):
        meta = row._meta
        name = f"admin:{meta.app_label}_{meta.model_name}_change"
        assert reverse(name, args=[row.pk]) in body
    table = body.split('id="result_list"')[1].split("</table>")[0]
    assert "langbot_agents.agentbinding" not in table
    assert "removed what was due" in body


def test_what_is_gone_keeps_its_id(staff):
    agent: Any = Agent.objects.get(slug="helper")
    gone = Agent(public_id=agent.public_id, workspace=agent.workspace)
    record_act("root", "deleted", gone)
    Agent.objects.filter(pk=agent.pk).update(name="Renamed since")
    assert "Renamed since" in body_of(staff)
    entry: Any = AuditLog.objects.first()
    AuditLog.objects.all().purge()
    entry.pk, entry._state.adding = None, True
    entry.object_id = "0199d0f0-0000-7000-8000-000000000000"
    entry.save()
    assert entry.object_id in body_of(staff)


def test_names_cost_one_query_whatever_is_listed(staff):
    agent: Any = Agent.objects.get(slug="helper")
    AuditLog.objects.all().purge()
    rows = (agent, agent.bindings.first(), agent.workspace)
    for row in rows:
        record_act("root", "changed", row)
    with CaptureQueriesContext(connection) as queries:
        body_of(staff)
    named = [one["sql"] for one in queries if "UNION ALL" in one["sql"]]
    assert len(named) == 1
