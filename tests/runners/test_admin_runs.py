"""The page of a run: its timeline, following it live, cancelling it."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from langbot.core.models import AuditLog
from runners.admin.timeline import PAGE, timeline_of
from runners.models import AgentRun, HostCall
from tests.factories import WorkspaceFactory
from tests.runners.admin_rows import add_events, make_run

PAGE_OF = "admin:langbot_runners_agentrun_change"
TIMELINE = "admin:langbot_runners_agentrun_timeline"
ACT = "admin:langbot_runners_agentrun_act"


@pytest.fixture
def staff(client, db):
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


def test_deltas_in_a_row_are_one_line(agent):
    run = make_run(agent)
    add_events(
        run,
        ("run.started", {}),
        ("message.delta", {"text": "Hel"}),
        ("message.delta", {"text": "lo"}),
        ("reasoning.delta", {"text": "hm"}),
        ("message.delta", {"text": "!"}),
    )
    rows = timeline_of(run).rows
    assert [(row.first, row.last, row.text) for row in rows] == [
        (1, 1, ""),
        (2, 3, "Hello"),
        (4, 4, "hm"),
        (5, 5, "!"),
    ]
    assert rows[1].offset == "+0.100 s"


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        (
            "message.completed",
            {
                "message": {
                    "role": "assistant",
                    "content": [{"type": "text", "text": "A"}],
                }
            },
            "A",
        ),
        ("run.completed", {"message": {"content": "All"}}, "All"),
        ("run.completed", {"finish_reason": "stop"}, ""),
        ("run.failed", {"code": "runner.error", "error": "boom"}, "runner.error: boom"),
        ("warning", {"code": "late", "message": "too late"}, "late: too late"),
        ("processor.log", {"level": "info", "text": "read 3"}, "info: read 3"),
        (
            "tool.call.started",
            {"tool_name": "add", "parameters": {"a": 1}},
            'add {"a": 1}',
        ),
        (
            "tool.call.completed",
            {"tool_name": "add", "result": None, "error": "no"},
            "add: no",
        ),
        ("state.updated", {"scope": "actor", "key": "k"}, "actor / k"),
        ("warning", {"code": 5, "message": None}, ""),
        ("message.delta", {}, ""),
    ],
)
def test_events_are_described_in_words(agent, kind, data, text):
    run = make_run(agent)
    add_events(run, (kind, data))
    assert timeline_of(run).rows[0].text == text


def test_text_of_a_stranger_is_escaped_and_secrets_hidden(staff, agent):
    run = make_run(agent)
    add_events(
        run,
        ("message.delta", {"text": "<script>alert(1)</script>"}),
        ("warning", {"code": "x", "api_key": "s3cret"}),
    )
    body = staff.get(reverse(PAGE_OF, args=[run.pk])).content.decode()
    assert "<script>alert(1)" not in body
    assert "s3cret" not in body


def test_long_ledger_is_read_page_by_page(staff, agent):
    run = make_run(agent)
    events = [("warning", {"code": str(number)}) for number in range(PAGE + 10)]
    add_events(run, *events)
    with CaptureQueriesContext(connection) as queries:
        response = staff.get(reverse(PAGE_OF, args=[run.pk]))
    assert len(queries) < 25
    assert len(response.context["timeline"].rows) == PAGE
    assert f"?after={PAGE}" in response.content.decode()
    rest = staff.get(reverse(PAGE_OF, args=[run.pk]), {"after": PAGE})
    assert len(rest.context["timeline"].rows) == 10


@pytest.mark.parametrize("after", ["-1", "x", "9" * 30, "１", ""])
def test_odd_positions_are_taken_as_the_beginning(staff, agent, after):
    run = make_run(agent)
    add_events(run, ("run.started", {}))
    url = reverse(TIMELINE, args=[run.pk])
    assert staff.get(url, {"after": after}).status_code == 200


def test_running_run_is_followed_until_it_ends(staff, agent):
    run = make_run(agent, status="running")
    add_events(run, ("run.started", {}), ("message.delta", {"text": "one"}))
    page = staff.get(reverse(PAGE_OF, args=[run.pk])).content.decode()
    assert "data-lb-follow" in page
    assert 'data-after="2"' in page
    url = reverse(TIMELINE, args=[run.pk])
    add_events(run, ("message.delta", {"text": "two"}))
    news = staff.get(url, {"after": 2}).json()
    assert (news["after"], news["live"]) == (3, True)
    assert "two" in news["rows"]
    assert "one" not in news["rows"]
    AgentRun.objects.filter(pk=run.pk).update(
        status="completed", finished_at=run.started_at
    )
    news = staff.get(url, {"after": 3}).json()
    assert (news["rows"].strip(), news["live"]) == ("", False)
    assert "completed" in news["summary"]
    ended = staff.get(reverse(PAGE_OF, args=[run.pk])).content.decode()
    assert "data-lb-follow" not in ended


def test_timeline_needs_the_right_to_view_runs(client, agent):
    run = make_run(agent)
    person = get_user_model().objects.create_user("nobody", is_staff=True)
    client.force_login(person)
    assert client.get(reverse(TIMELINE, args=[run.pk])).status_code == 403
    client.logout()
    assert client.get(reverse(TIMELINE, args=[run.pk])).status_code == 302


def person_with(client, workspace, *codenames):
    """Log in a member of the workspace who has just these rights."""
    person = get_user_model().objects.create_user("rita", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    workspace.memberships.create(user=person)
    client.force_login(person)
    return person


@pytest.mark.parametrize(
    ("act", "status", "right"),
    [
        ("cancel", "queued", "cancel_run"),
        ("run_now", "queued", "change_agentrun"),
        ("retry", "failed", "change_agentrun"),
    ],
)
def test_acts_need_a_post_and_their_right(client, agent, act, status, right):
    run = make_run(agent, status=status)
    person = person_with(client, agent.workspace, "view_agentrun")
    url, page = reverse(ACT, args=[run.pk, act]), reverse(PAGE_OF, args=[run.pk])
    assert client.post(url).status_code == 403
    assert url not in client.get(page).content.decode()
    assert not AuditLog.objects.exists()
    person.user_permissions.add(Permission.objects.get(codename=right))
    assert url in client.get(page).content.decode()
    assert client.get(url).status_code == 405
    assert not AuditLog.objects.exists()
    assert client.post(url).url == page
    entry = AuditLog.objects.get(object_id=str(run.public_id))
    assert entry.actor == "rita"


def test_cancelled_in_the_admin_is_cancelled(staff, agent):
    run = make_run(agent, status="queued")
    staff.post(reverse(ACT, args=[run.pk, "cancel"]))
    assert AgentRun.objects.get(pk=run.pk).status == "cancelled"
    assert AuditLog.objects.get().action == "cancel requested"


def test_retry_makes_the_next_attempt_and_says_what_it_left_out(staff, agent):
    ended, live = make_run(agent, status="failed"), make_run(agent, status="running")
    act = {"action": "retry", "_selected_action": [ended.pk, live.pk]}
    page = staff.post(
        reverse("admin:langbot_runners_agentrun_changelist"),
        act,
        follow=True,
        headers={"accept-language": "en"},
    )
    attempt = AgentRun.objects.get(event=ended.event, attempt=2)
    assert attempt.status == "queued"
    assert not AgentRun.objects.filter(event=live.event, attempt=2).exists()
    body = page.content.decode()
    assert "Done for 1 row." in body
    assert "The run has not ended yet." in body
    shown = staff.get(reverse(PAGE_OF, args=[attempt.pk])).content.decode()
    assert reverse(PAGE_OF, args=[ended.pk]) in shown


def test_nobody_acts_on_a_run_of_another_workspace(client, agent):
    person_with(client, WorkspaceFactory(), "view_agentrun", "cancel_run")
    run = make_run(agent, status="queued")
    assert client.post(reverse(ACT, args=[run.pk, "cancel"])).status_code == 404
    assert client.get(reverse(TIMELINE, args=[run.pk])).status_code == 404
    assert client.get(reverse(PAGE_OF, args=[run.pk])).status_code == 404
    assert AgentRun.objects.get(pk=run.pk).status == "queued"


def test_cancel_of_selected_runs_leaves_ended_ones_alone(staff, agent):
    waiting, ended = make_run(agent, status="queued"), make_run(agent)
    act = {"action": "cancel", "_selected_action": [waiting.pk, ended.pk]}
    staff.post(reverse("admin:langbot_runners_agentrun_changelist"), act)
    statuses = AgentRun.objects.in_bulk([waiting.pk, ended.pk])
    assert statuses[waiting.pk].status == "cancelled"
    assert statuses[ended.pk].status == "completed"
    assert AuditLog.objects.count() == 1


def test_labels_and_notes_are_written_and_nothing_else(staff, agent):
    run = make_run(agent)
    given = {"labels": "bug\n  要看 \nbug", "notes": "look", "status": "failed"}
    page = reverse(PAGE_OF, args=[run.pk])
    assert staff.post(page, given).status_code == 302
    stored = AgentRun.objects.get(pk=run.pk)
    assert (stored.labels, stored.notes) == (["bug", "要看"], "look")
    assert stored.status == "completed"
    entry = AuditLog.objects.get(object_id=str(run.public_id))
    assert entry.after == {"labels": ["bug", "要看"], "notes": "look"}
    staff.post(page, {"labels": "bug\n要看", "notes": "look"})
    assert AuditLog.objects.count() == 1
    too_many = "\n".join(map(str, range(51)))
    answer = staff.post(page, {"labels": too_many, "notes": ""})
    assert answer.status_code == 200
    assert AgentRun.objects.get(pk=run.pk).labels == ["bug", "要看"]


def test_a_viewer_writes_no_notes(client, agent):
    run = make_run(agent)
    person_with(client, agent.workspace, "view_agentrun")
    page = reverse(PAGE_OF, args=[run.pk])
    assert client.post(page, {"labels": "x", "notes": "x"}).status_code == 403
    assert AgentRun.objects.get(pk=run.pk).labels == []


def test_cost_and_snapshot_are_for_those_who_may(client, agent):
    run = make_run(
        agent, cost_microdollars=1_234_567, snapshot={"prompt": "only-for-some"}
    )
    person = person_with(client, agent.workspace, "view_agentrun")
    page = reverse(PAGE_OF, args=[run.pk])
    body = client.get(page).content.decode()
    assert "1.234567" not in body
    assert "only-for-some" not in body
    rights = Permission.objects.filter(codename__in=["view_cost", "view_raw_payload"])
    person.user_permissions.add(*rights)
    body = client.get(page).content.decode()
    assert "$1.234567" in body
    assert "only-for-some" in body


def test_a_failure_is_explained(staff, agent):
    run = make_run(agent, status="failed", error_code="runner.unavailable")
    page = reverse(PAGE_OF, args=[run.pk])
    body = staff.get(page, headers={"accept-language": "en"}).content.decode()
    assert "No connected plugin offered the runner" in body
    assert "Start the plugin process" in body


def test_host_calls_stand_between_the_events_and_tools_are_timed(agent):
    run = make_run(agent)
    add_events(
        run,
        ("tool.call.started", {"tool_name": "add", "tool_call_id": "1"}),
        ("tool.call.completed", {"tool_name": "add", "tool_call_id": "1"}),
    )
    call = HostCall.objects.create(
        run=run, invocation=1, plugin_seq_id=1, action="call_tool"
    )
    between = run.queued_at + timedelta(milliseconds=75)
    HostCall.objects.filter(pk=call.pk).update(created_at=between)
    timeline = timeline_of(run)
    kinds = [row.type for row in timeline.rows]
    assert kinds == ["tool.call.started", "host.call", "tool.call.completed"]
    assert timeline.rows[2].took == "0.050 s"
    assert timeline.after_call == call.pk
    assert timeline_of(run, 2, call.pk).rows == []


@pytest.mark.parametrize("searched", ["x", "not-a-uuid", "runner.error", "%", "1"])
def test_search_takes_any_text(staff, agent, searched):
    make_run(agent, status="failed", error_code="runner.error")
    url = reverse("admin:langbot_runners_agentrun_changelist")
    response = staff.get(url, {"q": searched})
    assert response.status_code == 200
    found = response.context["cl"].result_count
    assert found == (1 if searched == "runner.error" else 0)


def test_run_is_found_by_its_id(staff, agent):
    run, _other = make_run(agent), make_run(agent)
    url = reverse("admin:langbot_runners_agentrun_changelist")
    response = staff.get(url, {"q": str(run.public_id)})
    assert [row.pk for row in response.context["cl"].result_list] == [run.pk]


def test_conversation_shows_its_transcript_in_order(staff, agent):
    from runners.models import TranscriptItem

    run = make_run(agent)
    for seq in range(1, 121):
        TranscriptItem.objects.create(
            conversation=run.conversation, seq=seq, role="user", text=f"word{seq}."
        )
    url = reverse(
        "admin:langbot_runners_conversation_change", args=[run.conversation_id]
    )
    response = staff.get(url)
    body = response.content.decode()
    assert body.index("word119.") < body.index("word120.")
    assert "word20." not in body
    assert "?before=21" in body
    earlier = staff.get(url, {"before": "21"}).content.decode()
    assert "word20." in earlier
    assert "word21." not in earlier
