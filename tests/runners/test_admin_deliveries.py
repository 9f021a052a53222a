"""Deliveries as people read them."""

import re
from datetime import UTC, datetime

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from langbot.core.models import AuditLog
from platforms.models import Bot
from runners.models import Delivery
from tests.runners.admin_rows import make_run

LOG = [
    {
        "at": "2026-01-02T03:04:05.678+00:00",
        "ended_at": "2026-01-02T03:04:06.000+00:00",
        "outcome": "retry",
        "status_code": 503,
        "reason": "no answer",
    },
    {"at": "12:00", "error": "refused"},
]


@pytest.fixture
def staff(client, db):
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


def deliver(agent, status):
    bot = Bot.objects.create(
        workspace=agent.workspace, slug=status, name=f"Bot {status}", adapter="webhook"
    )
    run = make_run(agent)
    return Delivery.objects.create(
        workspace=agent.workspace,
        run=run,
        conversation=run.conversation,
        bot_id=bot.public_id,
        target="room-1|topic-2",
        payload={"text": "Hello"},
        status=status,
        next_attempt_at=datetime.now(UTC),
        attempts=2,
        attempt_log=LOG,
    )


def page_of(staff, delivery):
    url = reverse("admin:langbot_runners_delivery_change", args=[delivery.pk])
    return staff.get(url, headers={"accept-language": "en"}).content.decode()


def test_place_bot_and_attempts_are_readable(staff, agent):
    body = page_of(staff, deliver(agent, "pending"))
    for text in [
        "room-1, thread topic-2",
        "Bot pending",
        "2026-01-02 03:04:05",
        "failed, tried again later",
        "no answer",
        "12:00",
        "Next attempt",
    ]:
        assert text.lower() in body.lower(), text
    assert "status_code" not in body


def test_delivered_one_has_no_next_attempt(staff, agent):
    assert "next attempt" not in page_of(staff, deliver(agent, "delivered")).lower()


def test_list_names_bot_and_run_and_survives_a_deleted_bot(staff, agent):
    delivery = deliver(agent, "delivered")
    url = reverse("admin:langbot_runners_delivery_changelist")
    body = staff.get(url).content.decode()
    assert "Bot delivered" in body
    run = reverse("admin:langbot_runners_agentrun_change", args=[delivery.run_id])
    assert f'href="{run}"' in body
    Bot.objects.all().delete()
    assert "a deleted bot" in staff.get(url).content.decode()


@pytest.mark.parametrize("name", ["agentrun", "eventlog", "delivery"])
def test_lists_show_seconds(staff, agent, name):
    deliver(agent, "delivered")
    body = staff.get(reverse(f"admin:langbot_runners_{name}_changelist"))
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", body.content.decode())


ACT = "admin:langbot_runners_delivery_act"


@pytest.mark.parametrize(
    ("act", "before", "after"),
    [
        ("retry", "failed", "pending"),
        ("retry", "uncertain", "pending"),
        ("retry", "delivered", "delivered"),
        ("cancel", "pending", "cancelled"),
        ("cancel", "sending", "sending"),
    ],
)
def test_deliveries_are_sent_again_or_given_up(staff, agent, act, before, after):
    delivery = deliver(agent, before)
    staff.post(reverse(ACT, args=[delivery.pk, act]))
    delivery.refresh_from_db()
    assert delivery.status == after
    assert AuditLog.objects.count() == (before != after)


def test_acts_on_deliveries_need_their_right(client, agent):
    delivery = deliver(agent, "failed")
    person = get_user_model().objects.create_user("rita", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename="view_delivery"))
    agent.workspace.memberships.create(user=person)
    client.force_login(person)
    url = reverse(ACT, args=[delivery.pk, "retry"])
    assert url not in page_of(client, delivery)
    assert client.post(url).status_code == 403
    person.user_permissions.add(Permission.objects.get(codename="change_delivery"))
    assert url in page_of(client, delivery)
    assert client.post(url).status_code == 302
    delivery.refresh_from_db()
    assert delivery.status == "pending"


def test_the_page_leads_to_run_event_agent_and_conversation(staff, agent):
    delivery = deliver(agent, "delivered")
    run, body = delivery.run, page_of(staff, delivery)
    assert run is not None
    for name, key in [
        ("langbot_runners_agentrun", run.pk),
        ("langbot_runners_eventlog", run.event_id),
        ("langbot_runners_conversation", run.conversation_id),
        ("langbot_agents_agent", run.agent_id),
    ]:
        assert reverse(f"admin:{name}_change", args=[key]) in body
    assert "room-1|topic-2" not in body
