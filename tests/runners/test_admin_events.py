"""Pages of events, conversations, waiting messages, workers and files."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from artifacts.models import Artifact
from langbot.core.models import AuditLog
from runners.models import (
    AgentRun,
    EventLog,
    QueuedMessage,
    TranscriptItem,
    WorkerNode,
)
from tests.runners.admin_rows import make_run

EVENT = "admin:langbot_runners_eventlog_change"
REPLAY = "admin:langbot_runners_eventlog_act"
QUEUED = "admin:langbot_runners_queuedmessage_change"
CONVERSATION = "admin:langbot_runners_conversation_change"


@pytest.fixture
def staff(client, db):
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


def member(client, workspace, *codenames):
    person = get_user_model().objects.create_user("rita", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    workspace.memberships.create(user=person)
    client.force_login(person)
    return person


def body_of(client, page, row):
    url = reverse(page, args=[row.pk])
    return client.get(url, headers={"accept-language": "en"}).content.decode()


def test_an_event_leads_to_what_became_of_it(staff, agent):
    run = make_run(agent)
    body = body_of(staff, EVENT, run.event)
    for name, key in [
        ("agentrun", run.pk),
        ("conversation", run.conversation_id),
    ]:
        assert reverse(f"admin:langbot_runners_{name}_change", args=[key]) in body


def test_raw_payloads_are_for_those_who_may(client, agent):
    run = make_run(agent)
    event = run.event
    event.pk, event._state.adding = None, True
    event.public_id, event.event_id = uuid4(), "raw"
    event.data, event.raw_ref = {"chat": "only-for-some"}, {"blob": "only-for-some"}
    event.input = {"text": "said openly", "api_key": "s3cret"}
    event.save()
    person = member(client, agent.workspace, "view_eventlog")
    body = body_of(client, EVENT, event)
    assert "said openly" in body
    assert "s3cret" not in body
    assert "only-for-some" not in body
    person.user_permissions.add(Permission.objects.get(codename="view_raw_payload"))
    assert "only-for-some" in body_of(client, EVENT, event)


def test_replay_needs_its_right_and_is_audited(client, agent):
    run = make_run(agent)
    person = member(client, agent.workspace, "view_eventlog")
    url = reverse(REPLAY, args=[run.event_id, "replay"])
    assert client.post(url).status_code == 403
    assert EventLog.objects.count() == 1
    person.user_permissions.add(Permission.objects.get(codename="add_eventlog"))
    assert url in body_of(client, EVENT, run.event)
    assert client.post(url).status_code == 302
    assert EventLog.objects.count() == 2
    assert AgentRun.objects.count() == 2
    entry = AuditLog.objects.get(object_id=str(run.event.public_id))
    assert (entry.actor, entry.action) == ("rita", "replayed")


def test_a_conversation_is_a_chat_with_its_queue(staff, agent):
    run = make_run(agent, status="running")
    reply = "**fine** <script>alert(1)</script> ![x](https://a.test/x.png)"
    TranscriptItem.objects.create(
        conversation=run.conversation, seq=1, role="assistant", text=reply, run=run
    )
    TranscriptItem.objects.create(
        conversation=run.conversation,
        seq=2,
        role="system",
        item_type="error",
        text="Sorry",
        metadata={"code": "runner.timeout"},
    )
    QueuedMessage.objects.create(
        conversation=run.conversation, event=run.event, agent=agent
    )
    body = body_of(staff, CONVERSATION, run.conversation)
    assert "<strong>fine</strong>" in body
    assert "<script>alert" not in body
    assert 'x.png"' not in body.replace('href="https://a.test/x.png"', "")
    assert "did not end before its deadline" in body
    assert "Hello there" in body  # what waits
    for name in ("agentrun", "eventlog", "delivery"):
        every = reverse(f"admin:langbot_runners_{name}_changelist")
        place = f"{every}?conversation={run.conversation_id}"
        assert place in body
        found = staff.get(place).context["cl"].result_list
        assert len(found) == (name != "delivery")


def test_waiting_messages_have_a_position_and_can_be_taken_back(staff, agent):
    run = make_run(agent, status="running")
    messages = [
        QueuedMessage.objects.create(
            conversation=run.conversation, event=make_run(agent).event, agent=agent
        )
        for _ in range(3)
    ]
    page = staff.get(reverse("admin:langbot_runners_queuedmessage_changelist"))
    rows = {row.pk: row.ahead for row in page.context["cl"].result_list}
    assert [rows[message.pk] for message in messages] == [0, 1, 2]
    url = reverse(
        "admin:langbot_runners_queuedmessage_act", args=[messages[0].pk, "cancel"]
    )
    assert url in body_of(staff, QUEUED, messages[0])
    staff.post(url)
    messages[0].refresh_from_db()
    assert messages[0].status == "cancelled"
    assert AuditLog.objects.get().action == "cancelled"
    assert url not in body_of(staff, QUEUED, messages[0])


def test_a_worker_names_the_runs_it_carries_that_the_person_may_see(client, agent):
    now = datetime.now(UTC)
    node = WorkerNode.objects.create(name="w1", started_at=now, heartbeat_at=now)
    run = make_run(agent, status="running", node=node.public_id)
    link = reverse("admin:langbot_runners_agentrun_change", args=[run.pk])
    page = "admin:langbot_runners_workernode_change"
    person = member(client, agent.workspace, "view_workernode")
    assert link not in body_of(client, page, node)
    person.user_permissions.add(Permission.objects.get(codename="view_agentrun"))
    assert link in body_of(client, page, node)


def test_files_lead_to_their_run_and_are_found_by_it(staff, agent):
    run = make_run(agent)
    artifact = Artifact.objects.create(
        workspace=agent.workspace,
        type="file",
        source="runner",
        storage="blob",
        sha256="ab" * 32,
        conversation_id_ref=run.conversation.public_id,
        run_id_ref=run.public_id,
    )
    Artifact.objects.create(
        workspace=agent.workspace, type="file", source="tool", storage="blob"
    )
    page = reverse("admin:langbot_artifacts_artifact_changelist")
    ids = [artifact.public_id, run.public_id, run.conversation.public_id, "AB" * 32]
    for text in ids:
        found = staff.get(page, {"q": str(text)}).context["cl"].result_list
        assert [row.pk for row in found] == [artifact.pk], text
    body = body_of(staff, "admin:langbot_artifacts_artifact_change", artifact)
    assert reverse("admin:langbot_runners_agentrun_change", args=[run.pk]) in body
