"""What somebody said stands on the page of its run and of its event."""

from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.test import RequestFactory
from django.urls import reverse
from django.utils.translation import override

from runners.admin.came_in import came_in
from runners.admin.run_page import facts_of
from runners.admin.timeline import usage_text
from runners.admin.wording import waiting_words
from runners.choices import EventOutcome, RunStatus
from runners.models import AgentRun, EventLog
from tests.factories import WorkspaceFactory
from tests.runners.admin_rows import make_run

RUN = "admin:langbot_runners_agentrun_change"
EVENT = "admin:langbot_runners_eventlog_change"
BY_ID = "admin:langbot_runners_agentrun_by_id"


@pytest.fixture
def staff(client, db):
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


def body_of(client, page, row):
    url = reverse(page, args=[row.pk])
    return client.get(url, headers={"accept-language": "en"}).content.decode()


def sent_event(run, text):
    return EventLog.objects.create(
        workspace=run.workspace,
        source=f"run:{run.public_id}",
        event_id=f"{run.public_id}:reply",
        type="message.sent",
        time=run.queued_at,
        conversation=run.conversation,
        input_summary=text,
        trigger_source="system",
        outcome=EventOutcome.RECORDED,
    )


def test_a_run_shows_what_it_answers_and_who_said_it(staff, agent):
    first = make_run(agent, text="my first words")
    first.conversation.title = "my first words"
    first.conversation.save()
    run = make_run(agent, text="and <b>these</b>", conversation=first.conversation)
    assert came_in(run.event).text == "and <b>these</b>"
    body = body_of(staff, RUN, run)
    assert "and &lt;b&gt;these&lt;/b&gt;" in body
    assert reverse(EVENT, args=[run.event_id]) in body


def test_texts_files_and_people_are_found_wherever_they_stand():
    event = EventLog(
        input={
            "contents": [{"type": "text", "text": "look"}],
            "attachments": [{"name": "a.png"}, {"url": "https://a.test/b"}, "odd"],
        },
        actor={"name": "Ada", "type": "user", "id": "7"},
    )
    found = came_in(event)
    assert (found.text, found.who) == ("look", "Ada (user 7)")
    assert found.files == ["a.png", "https://a.test/b", "—"]


def test_a_sent_event_shows_its_text_and_leads_to_its_run(staff, agent):
    run = make_run(agent)
    event = sent_event(run, "what was answered")
    body = body_of(staff, EVENT, event)
    assert "what was answered" in body
    assert "No run." not in body
    there = reverse(BY_ID, args=[run.public_id])
    assert there in body
    assert staff.get(there)["Location"] == reverse(RUN, args=[run.pk])


def test_a_run_that_never_began_waited_until_its_end(django_user_model, agent):
    run = make_run(agent, status=RunStatus.FAILED)
    AgentRun.objects.filter(pk=run.pk).update(started_at=None)
    run.refresh_from_db()
    request = RequestFactory().get("/")
    request.user = django_user_model(is_superuser=True)
    facts = facts_of(request, run)
    assert facts["waited"] == "2.00\u00a0s"
    assert facts["took"] == "—"


def test_a_waiting_run_says_what_for(staff, agent):
    run = make_run(agent, status=RunStatus.QUEUED, status_reason="runner_offline")
    body = body_of(staff, RUN, run)
    assert f"It waits for a plugin that serves {run.runner_id}." in body
    assert waiting_words("later", "x") == "later"


@pytest.mark.parametrize(
    ("usage", "text"),
    [
        (
            {"prompt_tokens": 1200, "completion_tokens": 7, "estimated": True},
            "prompt tokens 1,200, completion tokens 7, estimated",
        ),
        ({"total_tokens": 3, "estimated": False}, "tokens in all 3"),
        ({"cached_tokens": 2, "note": "x"}, "cached tokens 2"),
        (None, ""),
    ],
)
def test_usage_is_told_in_words(usage, text):
    with override("en"):
        assert usage_text(usage) == text


def test_a_message_that_had_to_wait_shows_what_became_of_it(staff, agent):
    run = make_run(agent)
    waited = make_run(agent, text="second", conversation=run.conversation).event
    copy = EventLog.objects.get(pk=waited.pk)
    copy.pk, copy._state.adding = None, True
    copy.public_id, copy.event_id = uuid4(), "behind"
    copy.outcome = EventOutcome.QUEUED
    copy.save()
    AgentRun.objects.filter(event=waited).update(event=copy)
    url = reverse("admin:langbot_runners_eventlog_changelist")
    body = staff.get(url, headers={"accept-language": "en"}).content.decode()
    row = body[body.index("message queued") :]
    assert "completed" in row[: row.index("</tr>")]


def test_nobody_is_led_to_an_unknown_run_or_one_of_another_workspace(client, agent):
    person = get_user_model().objects.create_superuser("root", password="x")
    client.force_login(person)
    assert client.get(reverse(BY_ID, args=[uuid4()])).status_code == 404
    person.is_superuser = False
    person.save()
    WorkspaceFactory.create(slug="other").memberships.create(user=person)
    run = make_run(agent)
    assert client.get(reverse(BY_ID, args=[run.public_id])).status_code == 403
