"""The inbox: who may decide what, and what the loser of a race reads."""

import re
import threading

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import close_old_connections, connection
from django.test import Client
from django.urls import reverse

from langbot.admin_navigation import open_actions
from langbot.core.models import AuditLog
from runners.action_forms import unmasked
from runners.actions import Decider, Decision, resolve_action
from runners.models import PendingAction, ToolGrant
from tests.factories import AgentFactory, WorkspaceFactory
from tests.runners.admin_rows import add_events, make_action, make_run

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "admin:langbot_runners_pendingaction_changelist"
RACES = 15


def person(workspace, name, *rights):
    user = get_user_model().objects.create_user(name, is_staff=True)
    views = Permission.objects.filter(codename__startswith="view")
    user.user_permissions.set([*views, *Permission.objects.filter(codename__in=rights)])
    workspace.memberships.create(user=user)
    return user


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def approver(workspace):
    return person(workspace, "ada", "resolve_action")


@pytest.fixture
def staff(approver):
    return signed_in(approver)


@pytest.fixture
def action(agent):
    run = make_run(agent, "requires_action")
    return make_action(run, reason="It costs money")


def page_of(action):
    return reverse("admin:langbot_runners_pendingaction_change", args=[action.pk])


def decide(client, action, decision, **given):
    name = "admin:langbot_runners_pendingaction_decide"
    there = reverse(name, args=[action.pk])
    return client.post(there, {"decision": decision, **given}, follow=True)


def body_of(response):
    assert response.status_code == 200
    return response.content.decode()


def test_what_waits_comes_first(staff, agent):
    run = make_run(agent)
    done = make_action(run, tool_name="old", status="approved")
    waits = make_action(run, tool_name="waits")
    newest = make_action(run, tool_name="newer", status="rejected")
    rows = staff.get(reverse(LIST)).context["cl"].result_list
    assert [row.pk for row in rows] == [waits.pk, newest.pk, done.pk]


@pytest.mark.parametrize(("rows", "words"), [(1, "1 request"), (2, "2 requests")])
def test_the_list_counts_its_rows_and_not_inboxes(staff, agent, rows, words):
    for number in range(rows):
        make_action(make_run(agent), tool_name=f"tool {number}")
    page = staff.get(reverse(LIST), headers={"accept-language": "en"})
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", body_of(page)))
    assert f" {words} " in text
    assert not re.search(r"\d+ (inbox|pending action)", text)
    assert "Inbox" in text
    assert page.context["module_name"] == "requests"


def test_a_long_inbox_has_pages(staff, agent):
    run = make_run(agent)
    for number in range(51):
        make_action(run, tool_name=f"tool {number}", status="approved")
    page = staff.get(reverse(LIST), headers={"accept-language": "en"})
    body = body_of(page)
    assert "?p=2" in body
    assert "51 requests" in body


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status__exact=open", ["open"]),
        ("status__exact=approved", ["done"]),
        ("kind__exact=question", ["asked"]),
        ("q=open", ["open"]),
        ("q={run}", ["asked", "done", "open"]),
        ("q={place}", ["asked", "done", "open"]),
        ("q=nothing", []),
    ],
)
def test_filters_and_search_find(staff, agent, query, found):
    run = make_run(agent)
    make_action(run, tool_name="done", status="approved")
    make_action(run, tool_name="open")
    make_action(run, "question", tool_name="asked", status="responded")
    wanted = query.format(run=run.public_id, place=run.conversation.public_id)
    rows = staff.get(f"{reverse(LIST)}?{wanted}").context["cl"].result_list
    assert sorted(row.tool_name for row in rows) == found


def test_a_page_shows_what_is_asked_without_secrets(staff, action):
    body = body_of(staff.get(page_of(action)))
    for words in ("May the agent use pay?", "It costs money", "&quot;euro&quot;: 5"):
        assert words in body
    assert "sk-1" not in body
    assert "Approve with changes" in body
    for link in (action.run, action.agent, action.conversation):
        assert f"/{link._meta.model_name}/{link.pk}/change/" in body


def test_approving_is_recorded_with_person_and_door(staff, approver, action):
    body = body_of(decide(staff, action, "approve", reason="fine", scope="once"))
    action.refresh_from_db()
    assert (action.status, action.decided_by) == ("approved", approver)
    assert action.decision["reason"] == "fine"
    assert re.search(r"ada decided at .+: approved\.", body)
    assert "Approve with changes" not in body
    entry = AuditLog.objects.get(object_id=str(action.public_id))
    assert (entry.actor, entry.source) == ("ada", "admin")


@pytest.mark.parametrize(
    ("scope", "grants"), [("once", 0), ("session", 1), ("always", 1)]
)
def test_an_approval_may_be_remembered(staff, action, scope, grants):
    decide(staff, action, "approve", scope=scope)
    assert ToolGrant.objects.count() == grants
    for grant in ToolGrant.objects.all():
        assert (grant.conversation is None) == (scope == "always")
        page = reverse("admin:langbot_runners_toolgrant_change", args=[grant.pk])
        assert "Ask again from now on" in body_of(staff.get(page))
        name = "admin:langbot_runners_toolgrant_act"
        staff.post(reverse(name, args=[grant.pk, "revoke"]))
        grant.refresh_from_db()
        assert (grant.revoked_at is not None, grant.revoked_by_name) == (True, "ada")


def test_rejecting_keeps_the_reason_and_no_scope(staff, action):
    decide(staff, action, "reject", reason="too dear", scope="always")
    action.refresh_from_db()
    assert (action.status, action.decision["reason"]) == ("rejected", "too dear")
    assert not ToolGrant.objects.exists()


def test_changed_arguments_keep_what_was_hidden(staff, action):
    changed = '{"euro": 4, "api_key": "[redacted]"}'
    decide(staff, action, "edit", arguments=changed)
    action.refresh_from_db()
    assert action.status == "edited"
    assert action.decision["args"] == {"euro": 4, "api_key": "sk-1"}


@pytest.mark.parametrize("wrong", ["{", "[1]", "", "null"])
def test_wrong_arguments_are_shown_again(staff, action, wrong):
    body = body_of(decide(staff, action, "edit", arguments=wrong, reason="why not"))
    assert "This is not a JSON object." in body
    assert "why not" in body, "nothing that was entered is lost"
    action.refresh_from_db()
    assert action.status == "open"


def test_masks_are_put_back_at_any_depth():
    stored = {"a": [{"token": "t1", "n": 1}], "key": "k"}
    given = {"a": [{"token": "[redacted]", "n": 2}, {"token": "new"}], "key": "x"}
    assert unmasked(given, stored) == {
        "a": [{"token": "t1", "n": 2}, {"token": "new"}],
        "key": "x",
    }
    assert unmasked({"b": "[redacted]"}, stored) == {"b": None}


def test_a_question_is_a_form(staff, agent):
    action = make_action(make_run(agent), "question")
    body = body_of(staff.get(page_of(action)))
    assert "Which size?" in body
    for field in ("answer-size", "answer-gift", "answer-count"):
        assert f'name="{field}"' in body
    body = body_of(decide(staff, action, "respond:"))
    assert "This field is required." in body
    given = {"answer-size": "m", "answer-count": "2", "answer-gift": "on"}
    decide(staff, action, "respond:", **given)
    action.refresh_from_db()
    assert action.status == "responded"
    assert action.decision["values"] == {"size": "m", "gift": True, "count": 2}


def test_a_question_may_be_left_unanswered(staff, agent):
    action = make_action(make_run(agent), "question")
    decide(staff, action, "reject")
    action.refresh_from_db()
    assert action.status == "rejected"


def test_the_second_reads_who_was_first(staff, workspace, action):
    boss = person(workspace, "boss")
    decision = Decision(decision="reject", reason="no")
    resolve_action(action.public_id, decision, Decider(user=boss, name="boss"))
    body = body_of(decide(staff, action, "approve"))
    assert re.search(r"boss decided at .+: rejected\.", body)
    action.refresh_from_db()
    assert action.status == "rejected"


def test_one_of_many_wins_and_the_others_read_so(workspace, agent):
    users = [person(workspace, f"p{n}", "resolve_action") for n in range(4)]
    clients = [signed_in(user) for user in users]
    for _race in range(RACES):
        action = make_action(make_run(agent))
        bodies = race(clients, action)
        action.refresh_from_db()
        winner = action.decided_by_name
        assert action.status == "approved"
        assert sum("Decided." in body for body in bodies) == 1
        assert sum(f"{winner} decided at" in body for body in bodies) == 4
    assert AuditLog.objects.filter(action="action approved").count() == RACES


def race(clients, action):
    barrier, bodies = threading.Barrier(len(clients)), []

    def press(client):
        barrier.wait(30)
        try:
            bodies.append(body_of(decide(client, action, "approve")))
        finally:
            close_old_connections()
            connection.close()

    threads = [threading.Thread(target=press, args=(one,)) for one in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return bodies


def test_loading_the_address_of_a_decision_decides_nothing(staff, action):
    name = "admin:langbot_runners_pendingaction_decide"
    there = reverse(name, args=[action.pk])
    answer = staff.get(there, {"decision": "approve"})
    assert (answer.status_code, answer["Location"]) == (302, page_of(action))
    action.refresh_from_db()
    assert action.status == "open"


def test_without_the_right_there_is_nothing_to_press(workspace, action):
    reader = signed_in(person(workspace, "rita"))
    body = body_of(reader.get(page_of(action)))
    assert "May the agent use pay?" in body
    assert "Approve" not in body
    assert decide(reader, action, "approve").status_code == 403
    bulk = {"action": "approve", "_selected_action": [action.pk]}
    reader.post(reverse(LIST), bulk)
    action.refresh_from_db()
    assert action.status == "open"


def test_another_workspace_has_no_such_action(staff):
    there = WorkspaceFactory.create(slug="elsewhere")
    action = make_action(make_run(AgentFactory.create(workspace=there)))
    assert staff.get(page_of(action)).status_code == 404
    assert decide(staff, action, "approve").status_code == 404
    staff.post(reverse(LIST), {"action": "approve", "_selected_action": [action.pk]})
    action.refresh_from_db()
    assert action.status == "open"


@pytest.mark.parametrize(
    ("act", "statuses"),
    [("approve", ["approved", "open"]), ("reject", ["rejected", "rejected"])],
)
def test_many_are_decided_at_once(staff, agent, act, statuses):
    run = make_run(agent)
    rows = [make_action(run), make_action(run, "question")]
    gone = make_action(run, status="cancelled")
    keys = [row.pk for row in [*rows, gone]]
    bulk = {"action": act, "_selected_action": keys}
    body = body_of(staff.post(reverse(LIST), bulk, follow=True))
    assert [PendingAction.objects.get(pk=row.pk).status for row in rows] == statuses
    assert "This is no longer asked" in body


def test_the_sidebar_counts_what_the_person_may_see(staff, approver, agent, rf):
    request = rf.get("/")
    request.user = approver
    assert open_actions(request) == ""
    make_action(make_run(agent))
    make_action(make_run(agent), status="approved")
    other = AgentFactory.create(workspace=WorkspaceFactory.create(slug="elsewhere"))
    make_action(make_run(other))
    assert open_actions(request) == "1"
    body = body_of(staff.get(reverse("admin:index")))
    assert re.search(r'class="lb-count">1<span> waiting</span>', body)


def test_many_are_counted_no_further(approver, agent, rf):
    run = make_run(agent)
    row = make_action(run)
    copies = [
        PendingAction(
            **{
                field.attname: getattr(row, field.attname)
                for field in PendingAction._meta.concrete_fields
                if field.name not in {"id", "public_id", "tool_call_id"}
            },
            tool_call_id=str(number),
        )
        for number in range(120)
    ]
    PendingAction.objects.bulk_create(copies)
    request = rf.get("/")
    request.user = approver
    assert open_actions(request) == "99+"


def test_the_first_page_leads_to_each_or_to_all(staff, agent):
    run = make_run(agent)
    first = make_action(run)
    assert page_of(first) in body_of(staff.get(reverse("admin:index")))
    for _more in range(3):
        make_action(run)
    body = body_of(staff.get(reverse("admin:index")))
    assert "4 decisions wait for a person." in body
    assert page_of(first) not in body


def test_a_run_shows_what_it_asked_and_who_decided(staff, agent):
    run = make_run(agent)
    action = make_action(run)
    call = {"name": "pay", "arguments": {"euro": 5}}
    add_events(
        run,
        ("action.requested", {"action_requests": [call]}),
        (
            "action.resolved",
            {"status": "approved", "decided_by": "ada", "tool_name": "pay"},
        ),
    )
    page = reverse("admin:langbot_runners_agentrun_change", args=[run.pk])
    body = body_of(staff.get(page))
    assert page_of(action) in body
    assert "ada · pay · approved" in body
    assert "pay {&quot;euro&quot;: 5}" in body
