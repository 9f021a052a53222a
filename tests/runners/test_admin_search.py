"""Finding records: by any id, by filters, and from one place for all."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.urls import reverse

from langbot.lib.ids import uuid7
from runners.models import AgentRun, Conversation, Delivery, EventLog, QueuedMessage
from tests.factories import AgentFactory, BotFactory, WorkspaceFactory
from tests.runners.admin_rows import make_run


@pytest.fixture
def staff(client, db):
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


@pytest.fixture
def run(agent):
    """A run with a delivery, in a conversation that its platform calls room-7."""
    run = make_run(agent, status="failed", error_code="model.timeout")
    Conversation.objects.filter(pk=run.conversation_id).update(external_id="room-7")
    Delivery.objects.create(
        workspace=agent.workspace,
        run=run,
        conversation=run.conversation,
        bot_id=uuid4(),
        target="room-7|",
        payload={},
        next_attempt_at=datetime.now(UTC),
        platform_message_id="Msg-9",
    )
    make_run(agent)
    return run


def shown(client, model, **given):
    response = client.get(reverse(f"admin:langbot_runners_{model}_changelist"), given)
    return [row.pk for row in response.context["cl"].result_list]


def ids_of(run):
    """Return every id that a person may have of a run, by what it is of."""
    conversation = Conversation.objects.get(pk=run.conversation_id)
    delivery = run.deliveries.get()
    return {
        "run": run.public_id,
        "event": run.event.public_id,
        "event at its source": run.event.event_id,
        "conversation": conversation.public_id,
        "conversation at its platform": "room-7",
        "key of the conversation": conversation.key,
        "delivery": delivery.public_id,
        "message at the platform": "Msg-9",
        "idempotency key": delivery.idempotency_key,
        "error code": "model.timeout",
    }


def test_a_run_is_found_by_every_id_around_it(staff, run):
    for name, text in ids_of(run).items():
        assert shown(staff, "agentrun", q=f" {text} ") == [run.pk], name


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("eventlog", ["run", "event", "event at its source"]),
        ("conversation", ["run", "conversation", "conversation at its platform"]),
        ("conversation", ["key of the conversation"]),
        ("delivery", ["run", "delivery", "message at the platform", "conversation"]),
        ("delivery", ["idempotency key", "key of the conversation"]),
    ],
)
def test_other_records_are_found_by_theirs(staff, run, model, names):
    ids = ids_of(run)
    rows = {
        "eventlog": run.event_id,
        "conversation": run.conversation_id,
        "delivery": run.deliveries.get().pk,
    }
    for name in names:
        assert shown(staff, model, q=str(ids[name])) == [rows[model]], name


def test_a_queued_message_is_found_by_its_event(staff, agent):
    run = make_run(agent, status="running")
    message = QueuedMessage.objects.create(
        conversation=run.conversation, event=run.event, agent=agent
    )
    for text in (message.public_id, run.event.public_id, run.event.event_id):
        assert shown(staff, "queuedmessage", q=str(text)) == [message.pk]


def test_runs_are_narrowed_by_label_agent_bot_and_period(staff, agent):
    bot = BotFactory.create(workspace=agent.workspace)
    labelled = make_run(agent, labels=["bug", "要看"], bot_id=bot.public_id)
    other = make_run(AgentFactory.create(workspace=agent.workspace), labels=["bugs"])
    old = uuid7().int - (1000 * 3600 * 24 * 40 << 80)
    AgentRun.objects.filter(pk=labelled.pk).update(public_id=f"{old:032x}")
    assert shown(staff, "agentrun", label="bug") == [labelled.pk]
    assert shown(staff, "agentrun", label="要看") == [labelled.pk]
    assert shown(staff, "agentrun", label="o'clock\"") == []
    assert shown(staff, "agentrun", agent__id__exact=agent.pk) == [labelled.pk]
    assert shown(staff, "agentrun", bot_id__exact=bot.public_id) == [labelled.pk]
    assert shown(staff, "agentrun", period="month") == [other.pk]
    assert len(shown(staff, "agentrun", period="century")) == 2


def test_filters_offer_only_what_the_person_sees(client, agent):
    strangers = WorkspaceFactory.create()
    AgentFactory.create(workspace=strangers, name="Stranger")
    BotFactory.create(workspace=strangers, name="Strange bot")
    make_run(AgentFactory.create(workspace=strangers), labels=["secret label"])
    BotFactory.create(workspace=agent.workspace, name="Our bot")
    make_run(agent, labels=["ours"])
    person = get_user_model().objects.create_user("rita", is_staff=True)
    rights = Permission.objects.filter(codename__startswith="view")
    person.user_permissions.set(rights)
    agent.workspace.memberships.create(user=person)
    client.force_login(person)
    page = client.get(reverse("admin:langbot_runners_agentrun_changelist"))
    body = page.content.decode()
    assert "Our bot" in body
    assert "ours" in body
    for text in ("Stranger", "Strange bot", "secret label"):
        assert text not in body


def found(client, text):
    page = client.get(reverse("admin:search"), {"s": text, "extended": "1"})
    assert page.status_code == 200
    return page.content.decode()


def test_one_search_leads_everywhere(staff, run):
    body = found(staff, str(run.public_id))
    for row, name in [
        (run.pk, "agentrun"),
        (run.event_id, "eventlog"),
        (run.conversation_id, "conversation"),
        (run.deliveries.get().pk, "delivery"),
    ]:
        assert reverse(f"admin:langbot_runners_{name}_change", args=[row]) in body
    # The theme asks in lower case; platforms mean theirs.
    delivery = run.deliveries.get()
    page = reverse("admin:langbot_runners_delivery_change", args=[delivery.pk])
    assert page in found(staff, "Msg-9")
    assert page not in found(staff, "\x00")


def test_one_search_keeps_to_rights_and_workspace(client, run):
    person = get_user_model().objects.create_user("rita", is_staff=True)
    run.workspace.memberships.create(user=person)
    client.force_login(person)
    page = reverse("admin:langbot_runners_agentrun_change", args=[run.pk])
    assert page not in found(client, str(run.public_id))
    person.user_permissions.set(Permission.objects.filter(codename="view_agentrun"))
    assert page in found(client, str(run.public_id))
    assert "eventlog" not in found(client, str(run.event.public_id))
    run.workspace.memberships.all().delete()
    assert page not in found(client, run.event.event_id)


@pytest.mark.parametrize("count", [0, 3])
def test_counts_of_small_tables_are_exact(staff, agent, count):
    for _ in range(count):
        make_run(agent)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # other tests' statistics outlive them
            cursor.execute("ANALYZE langbot_runners_agentrun")
    page = staff.get(reverse("admin:langbot_runners_agentrun_changelist"))
    assert page.context["cl"].result_count == count


def test_paging_ends_where_skipping_would_be_slow(monkeypatch, agent):
    from langbot.lib.admin import LargeTablePaginator

    pages = LargeTablePaginator(EventLog.objects.order_by("-pk"), 50)
    pages.count = 1_000_000
    assert pages.num_pages == 200
    pages = LargeTablePaginator(EventLog.objects.order_by("-pk"), 50)
    pages.count = 120
    assert pages.num_pages == 3


def test_a_period_begins_at_its_first_row(agent):
    from langbot.lib.periods import first_key_since

    now = datetime.now(UTC)
    assert first_key_since(EventLog, now - timedelta(days=1)) is None
    run = make_run(agent)
    assert first_key_since(EventLog, now - timedelta(days=1)) == run.event_id
    assert first_key_since(EventLog, now + timedelta(hours=1)) is None
