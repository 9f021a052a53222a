"""Agents that ask agents: what starts, what it may, whose it is, and its end."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.db.models import QuerySet

from agents.policies import APPROVALS
from agents.resources.tools import ToolCall, ToolError
from runners import sub_runs
from runners.agent_tool_provider import AgentTools
from runners.choices import RunStatus
from runners.engine.snapshot import freeze, load_runs
from runners.errors import NotReplayableError
from runners.ledger.children import stop_orphans
from runners.models import AgentRun, Conversation, EventLog, QueuedMessage
from runners.replays import replay_event
from runners.retries import retry_run
from runners.services import request_cancel
from tests.factories import AgentFactory
from tests.runners.admin_rows import add_events
from tests.support import ledger

PERMISSIONS = {"tools": ["detail", "call"], "storage": ["plugin", "workspace"]}
CAPABLE = {"tool_calling": True}


@pytest.fixture
def helper(workspace):
    return AgentFactory.create(
        workspace=workspace, slug="helper", name="Helper", description="Looks things up"
    )


@pytest.fixture
def boss(caller_of, helper):
    def make(**more: Any):
        given: dict[str, Any] = {"agents": ["helper"], "capabilities": CAPABLE, **more}
        caller = caller_of(PERMISSIONS, **given)
        AgentRun.objects.filter(pk=caller.run.pk).update(snapshot=caller.facts.snapshot)
        (caller.run,) = load_runs([caller.run.pk])
        return caller

    return make


def call_of(run, key=None, name="call_agent_helper", **parameters):
    return ToolCall(
        name=name,
        parameters=parameters,
        workspace_id=run.workspace_id,
        run_id=run.public_id,
        agent_id="",
        conversation_id="",
        key=key or f"{run.public_id}:1:{uuid4()}",
        seconds=170,
        is_dry_run=run.dry_run,
    )


def start(run, key=None, **parameters):
    """Ask the helper; returns (the id, its newest run)."""
    asked = sub_runs.Ask(**{"text": "find it", **parameters})
    sub_run_id = sub_runs.start(call_of(run, key), "helper", asked)
    event = EventLog.objects.get(public_id=sub_run_id)
    return sub_run_id, event.runs.order_by("-attempt").first()


def refused(function, *arguments):
    with pytest.raises(ToolError) as caught:
        function(*arguments)
    return caught.value


def test_the_policy_gives_a_tool_for_each_agent_and_one_for_results(boss):
    caller = boss()
    listed = {tool.tool_name: tool for tool in caller.facts.resources.tools}
    assert list(listed) == ["event_reply", "call_agent_helper", "sub_run_result"]
    assert "Looks things up" in listed["call_agent_helper"].description
    assert listed["call_agent_helper"].parameters["required"] == ["text"]


@pytest.mark.parametrize(
    "more",
    [
        {"agents": []},
        {"agents": ["nobody"]},
        {"binding": {"agents": []}},
        {"capabilities": {}},
        {"agents": [], "tools": ["call_agent_helper", "sub_run_result"]},
    ],
)
def test_without_the_grant_there_is_no_such_tool(boss, more):
    assert "call_agent_helper" not in boss(**more).facts.access.tools


@pytest.mark.parametrize("change", [{"enabled": False}, {"archived_at": "now"}])
def test_an_agent_that_is_switched_off_cannot_be_asked(boss, helper, change):
    caller = boss()
    if "archived_at" in change:
        change = {"archived_at": datetime.now(UTC)}
    type(helper).objects.filter(pk=helper.pk).update(**change)
    assert AgentTools().find(helper.workspace_id, ["call_agent_helper"]) == []
    asked = sub_runs.Ask(text="hi")
    error = refused(sub_runs.start, call_of(caller.run), "helper", asked)
    assert error.code == "not_found"


def test_another_workspaces_agent_cannot_be_asked(boss):
    AgentFactory.create(slug="stranger")
    caller = boss(agents=["stranger"])
    assert "call_agent_stranger" not in caller.facts.access.tools
    asked = sub_runs.Ask(text="hi")
    error = refused(sub_runs.start, call_of(caller.run), "stranger", asked)
    assert error.code == "not_found"


def test_a_sub_run_belongs_to_the_run_that_asked(boss):
    caller = boss(run={"dry_run": True})
    said_by = {"actor": {"id": "ada", "name": "Ada"}, "subject": {"id": "case-1"}}
    QuerySet(EventLog).filter(pk=caller.run.event_id).update(**said_by)
    _, child = start(caller.run, context="We are in a hurry.")
    assert (child.parent_id, child.depth) == (caller.run.pk, 1)
    assert child.origin == f"sub:{caller.run.public_id}"
    assert child.dry_run
    assert child.bot_id is None
    assert child.event.actor == {"id": "ada", "name": "Ada"}
    assert child.event.subject == {"id": "case-1"}
    assert child.event.source == f"run:{caller.run.public_id}"
    assert child.event.input["text"] == "We are in a hurry.\n\nfind it"
    place = child.conversation
    assert (place.kind, place.title) == ("sub", "find it")
    assert place != caller.run.conversation


def test_the_same_call_starts_one_sub_run(boss):
    caller = boss()
    first = start(caller.run, key="one")
    assert start(caller.run, key="one") == first
    assert AgentRun.objects.filter(parent=caller.run).count() == 1
    assert Conversation.objects.filter(kind="sub").count() == 1
    assert start(caller.run, key="two") != first


def test_agents_ask_each_other_three_deep(boss):
    caller, depths = boss(), []
    run = caller.run
    for _ in range(3):
        _, run = start(run)
        depths.append(run.depth)
    assert depths == [1, 2, 3]
    error = refused(sub_runs.start, call_of(run), "helper", sub_runs.Ask(text="on"))
    assert error.code == "too_deep"
    assert error.details == {"agent": "helper", "depth": 3}
    assert AgentRun.objects.count() == 4


def frozen(run):
    (loaded,) = load_runs([run.pk])
    return freeze(loaded)


def test_a_sub_run_has_the_rights_that_both_have(boss, helper, caller_of):
    full = caller_of(
        PERMISSIONS, agents=["helper"], capabilities=CAPABLE, plugin_storage=True
    )
    helper.runner_id, helper.resource_policy = (
        full.run.agent.runner_id,
        {
            "agents": ["helper"],
            "workspace_storage": True,
        },
    )
    helper.save()
    caller = boss(workspace_storage=False)
    _, child = start(caller.run)
    facts = frozen(child)
    assert not facts.access.workspace_storage
    assert facts.access.plugin_storage
    assert not facts.resources.storage.workspace_storage
    assert set(facts.access.tools) <= set(caller.facts.access.tools)
    assert facts.access.state_scopes == ["conversation"]  # nobody is known to it

    AgentRun.objects.filter(pk=caller.run.pk).update(snapshot=None)
    nothing = frozen(child)
    assert (nothing.access.tools, nothing.access.state_scopes) == ({}, [])
    assert not nothing.access.apis["storage"]
    assert nothing.resources.tools == []


def test_what_needs_a_person_needs_one_in_a_sub_run(boss, helper):
    caller = boss()
    helper.runner_id = caller.run.agent.runner_id
    helper.resource_policy = {"agents": ["helper"]}
    helper.save()
    snapshot = {**caller.facts.snapshot}
    snapshot[APPROVALS] = {"enabled": True, "allow": ["sub_*"], "deny": ["event_*"]}
    AgentRun.objects.filter(pk=caller.run.pk).update(snapshot=snapshot)
    _, child = start(caller.run)
    policy = frozen(child).snapshot[APPROVALS]
    assert policy["allow"] == ["sub_run_result"]
    assert policy["deny"] == ["event_reply"]
    assert policy["ask"] == ["call_agent_helper"]


def test_how_a_sub_run_stands(boss):
    caller = boss()
    sub_run_id, child = start(caller.run)
    call = call_of(caller.run, name="sub_run_result")
    told = sub_runs.describe(call, sub_run_id, progress=True)
    assert told["status"] == "running"
    assert told["run_id"] == str(child.public_id)
    assert told["progress"]["message_count"] == 1
    assert told["progress"]["last_messages"] == [{"role": "user", "text": "find it"}]
    assert "response" not in told

    child = ledger.begin(child)
    ledger.complete(child, "found", publish=False)
    told = sub_runs.describe(call, sub_run_id, progress=True)
    assert (told["status"], told["response"]) == ("completed", "found")
    assert "progress" not in told


def test_what_a_sub_run_did_with_tools_is_told(boss):
    caller = boss()
    sub_run_id, child = start(caller.run)
    child = ledger.begin(child)
    add_events(
        child,
        ("tool.call.started", tool("c1", parameters={"q": "x" * 500})),
        ("tool.call.completed", tool("c1", result={"found": 3}, error=None)),
        ("tool.call.completed", tool("c9", result={}, error=None)),
        ("tool.call.started", tool("c1", parameters={})),
        ("tool.call.completed", tool("c1", result=None, error="broken: no")),
        ("tool.call.started", tool("c2", parameters={})),
    )
    AgentRun.objects.filter(pk=child.pk).update(usage={"total_tokens": 12})
    call = call_of(caller.run)
    assert "tool_calls" not in sub_runs.describe(call, sub_run_id)
    ended = {"status": "completed", "finished_at": datetime.now(UTC)}
    AgentRun.objects.filter(pk=child.pk).update(**ended)
    told = sub_runs.describe(call, sub_run_id)
    first, second, third = told["tool_calls"]
    assert (first["tool_call_id"], first["tool_name"]) == ("c1", "add")
    assert (first["output"], first["success"]) == ('{"found": 3}', True)
    assert len(first["input"]) == 400
    assert second["output"] == '{"error": "broken: no"}'
    assert second["success"] is False
    assert (third["output"], third["success"]) == (None, False)
    assert told["tokens"] == 12


def tool(call_id, **more):
    return {"tool_call_id": call_id, "tool_name": "add", **more}


def test_a_failure_is_told_with_its_code(boss):
    caller = boss()
    sub_run_id, child = start(caller.run)
    ledger.fail(ledger.begin(child), publish=False)
    told = sub_runs.describe(call_of(caller.run), sub_run_id)
    assert told["status"] == "error"
    assert told["error"]["code"] == "runner.error"


def test_a_talk_goes_on_and_its_former_answer_is_not_the_new_one(boss):
    caller = boss()
    first, child = start(caller.run)
    second, _ = start(caller.run, sub_run_id=str(first), text="and then?")
    told = sub_runs.describe(call_of(caller.run), second)
    assert (told["status"], told["run_id"]) == ("queued", None)

    ledger.complete(ledger.begin(child), "first answer", publish=False)
    told = sub_runs.describe(call_of(caller.run), second)
    assert told["status"] == "running"
    assert "response" not in told
    promoted = AgentRun.objects.get(public_id=told["run_id"])
    assert (promoted.parent_id, promoted.depth) == (caller.run.pk, 1)
    assert promoted.conversation == child.conversation


def test_only_the_agent_that_asked_sees_and_goes_on_with_it(boss, caller_of):
    caller = boss()
    sub_run_id, _ = start(caller.run)
    stranger = boss()
    neighbour = caller_of(beside=caller)  # another agent of the same conversation
    for run in (stranger.run, neighbour.run):
        for wanted in (str(sub_run_id), str(uuid4()), "nonsense"):
            for act in (sub_runs.waits_for, sub_runs.cancel):
                error = refused(act, call_of(run), wanted)
                assert (error.code, error.message) == (
                    "not_found",
                    "there is no such sub-run",
                )
    ask = sub_runs.Ask(text="go on", sub_run_id=str(sub_run_id))
    assert refused(sub_runs.start, call_of(stranger.run), "helper", ask).code == (
        "not_found"
    )


def test_its_own_later_turn_sees_it(boss):
    caller = boss()
    sub_run_id, _ = start(caller.run)
    ledger.complete(ledger.begin(caller.run), publish=False)
    later = caller.run
    later.pk, later.public_id, later.attempt = None, uuid4(), 2
    later.status, later.finished_at = "running", None
    later.save()
    assert sub_runs.describe(call_of(later), sub_run_id)["status"] == "running"


def test_stopping_one_is_answered_at_once(boss):
    caller = boss()
    sub_run_id, child = start(caller.run)
    waiting, _ = start(caller.run, sub_run_id=str(sub_run_id), text="more")
    running = ledger.begin(child)
    assert (
        sub_runs.cancel(call_of(caller.run), str(sub_run_id))["status"] == "cancelled"
    )
    running.refresh_from_db()
    assert running.cancel_requested_at is not None
    assert sub_runs.cancel(call_of(caller.run), str(waiting))["status"] == "cancelled"
    assert QueuedMessage.objects.get().status == "cancelled"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_the_end_of_a_run_is_the_end_of_its_sub_runs(boss, end):
    caller = boss()
    _, child = start(caller.run)
    _, second = start(caller.run)
    _, grandchild = start(child)
    snapshot = caller.facts.snapshot
    for run in (caller.run, child):
        ledger.begin(run)
        AgentRun.objects.filter(pk=run.pk).update(snapshot=snapshot)
    if end == "fail":
        ledger.fail(caller.run, publish=False)
    else:
        from runners.endings import end_and_wake
        from runners.ledger.batches import Ending

        end_and_wake(caller.run, Ending(RunStatus.CANCELLED, "cancelled", "stopped"))
    child.refresh_from_db()
    second.refresh_from_db()
    assert child.cancel_requested_at is not None  # its worker ends it
    assert second.status == "cancelled"  # no worker had it
    request_cancel(child, "")
    ledger.fail(child, publish=False)
    grandchild.refresh_from_db()
    assert grandchild.status == "cancelled"


@pytest.mark.django_db(transaction=True)
def test_a_run_that_ends_well_leaves_its_sub_runs_at_work(boss):
    caller = boss()
    _, child = start(caller.run)
    ledger.begin(caller.run)
    AgentRun.objects.filter(pk=caller.run.pk).update(snapshot=caller.facts.snapshot)
    ledger.complete(caller.run, publish=False)
    assert stop_orphans() == 0
    child.refresh_from_db()
    assert (child.status, child.cancel_requested_at) == ("queued", None)


def test_what_a_crash_leaves_is_found(boss):
    caller = boss()
    _, child = start(caller.run)
    AgentRun.objects.filter(pk=caller.run.pk).update(
        status="timeout", finished_at=datetime.now(UTC)
    )
    assert stop_orphans() == 1
    child.refresh_from_db()
    assert child.status == "cancelled"
    assert stop_orphans() == 0


def test_what_a_person_tries_again_is_no_orphan(boss):
    caller = boss()
    _, child = start(caller.run)
    ledger.fail(ledger.begin(child), publish=False)
    AgentRun.objects.filter(pk=caller.run.pk).update(
        status="failed", finished_at=datetime.now(UTC)
    )
    child.refresh_from_db()
    again = retry_run(child, "ada")
    assert (again.parent_id, again.depth) == (caller.run.pk, 1)
    assert stop_orphans() == 0


def test_what_an_agent_asked_is_not_replayed(boss):
    _, child = start(boss().run)
    with pytest.raises(NotReplayableError):
        replay_event(child.event, "ada")
