"""Tools and knowledge bases of a run: grants, calls, their limits and their errors."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runners.ledger.fence import NewEvent
from runners.models import AgentRun, HostCall
from runners.protocol.errors import ProtocolError
from runners.resets import reset_conversation
from tests.runners.admin_rows import add_events
from tests.runners.host_api.providers import SCHEMA, Knowledge, Tools, install
from tests.support import ledger

PERMISSIONS = {"tools": ["detail", "call"], "knowledge_bases": ["list", "retrieve"]}
CAPABLE = {"tool_calling": True, "knowledge_retrieval": True}


@pytest.fixture
def tools(monkeypatch):
    tools = Tools()
    install(monkeypatch, tools)
    return tools


@pytest.fixture
def knowledge(monkeypatch):
    knowledge = Knowledge()
    install(monkeypatch, knowledge=knowledge)
    return knowledge


@pytest.fixture
def capable(caller_of):
    def make(*tools, permissions=PERMISSIONS, capabilities=CAPABLE, **more):
        return caller_of(permissions, capabilities=capabilities, tools=tools, **more)

    return make


def test_a_run_sees_the_tools_of_its_policy_with_small_schemas(tools, capable):
    caller = capable("shout", "large", "unknown")
    listed = {tool.tool_name: tool for tool in caller.facts.resources.tools}
    assert list(listed) == ["event_reply", "shout", "large"]
    assert listed["shout"].parameters == SCHEMA
    assert listed["shout"].tool_type == "mcp"
    assert listed["large"].parameters is None
    assert caller("get_tool_detail", tool_name="shout") == {
        "tool": {"name": "shout", "description": "Shouts", "parameters": SCHEMA}
    }
    large = caller("get_tool_detail", tool_name="large")["tool"]
    assert len(large["parameters"]["description"]) == 20_000


@pytest.mark.parametrize(
    ("given", "calls", "details"),
    [
        ({"permissions": {}}, False, False),
        ({"permissions": {"tools": ["detail"]}}, False, True),
        ({"permissions": {"tools": ["call"]}}, True, False),
        ({"capabilities": {}}, False, False),
        ({"binding": {"tools": ["large"]}}, False, False),
    ],
)
def test_each_has_to_grant_a_tool(tools, capable, given, calls, details):
    caller = capable("shout", **given)
    data = {"tool_name": "shout", "parameters": {"text": "hi"}}
    if calls:
        assert caller("call_tool", **data) == {"result": {"said": "HI"}}
    else:
        assert caller.refused("call_tool", **data) == "permission_denied"
    if not details:
        refused = caller.refused("get_tool_detail", tool_name="shout")
        assert refused == "permission_denied"
    assert len(tools.calls) == calls


def test_empty_operations_allow_all(tools, capable):
    caller = capable("shout")
    caller.facts.access.tools["shout"] = []
    assert caller("get_tool_detail", tool_name="shout")["tool"]["name"] == "shout"
    assert caller("call_tool", tool_name="shout", parameters={})


def test_no_provider_costs_no_query(capable, django_assert_num_queries, monkeypatch):
    from runners.access import compute_access
    from runners.models import AgentRun

    install(monkeypatch)
    run = AgentRun.objects.select_related("agent").get(pk=capable("shout").run.pk)
    with django_assert_num_queries(0):
        compute_access(run.agent, None, None, run.workspace_id)


def test_a_tool_is_executed_once_and_a_repeat_gets_its_answer(tools, capable):
    caller = capable("shout")
    data = {"tool_name": "shout", "parameters": {"text": "a"}, "seq_id": 50}
    first = caller("call_tool", **data)
    assert caller("call_tool", **data) == first == {"result": {"said": "A"}}
    assert len(tools.calls) == 1
    assert tools.calls[0].run_id == caller.run.public_id


@pytest.mark.parametrize(
    ("name", "code", "repeat"),
    [
        ("broken", "runtime_error", "runtime_error"),
        ("doubtful", "outcome_unknown", "outcome_unknown"),
    ],
)
def test_a_failed_tool_is_not_tried_again(tools, capable, name, code, repeat):
    caller = capable(name)
    data = {"tool_name": name, "parameters": {}, "seq_id": 60}
    assert caller.refused("call_tool", **data) == code
    assert caller.refused("call_tool", **data) == repeat
    assert len(tools.calls) == 1


def test_a_call_that_goes_on_is_made_again_until_it_has_an_answer(tools, capable):
    tools.goes_on = True
    caller = capable("doubtful", "shout")
    data = {"tool_name": "doubtful", "parameters": {}, "seq_id": 65}
    assert caller.refused("call_tool", **data) == "outcome_unknown"
    assert caller.refused("call_tool", **data) == "outcome_unknown"
    assert [one.key for one in tools.calls] == [tools.calls[0].key] * 2
    HostCall.objects.update(status="answered", answer={"result": {"said": "B"}})
    assert caller("call_tool", **data) == {"result": {"said": "B"}}
    assert len(tools.calls) == 2


def test_a_tool_ends_with_the_time_of_the_run(tools, capable):
    caller = capable("slow")
    caller.facts.deadline_at = datetime.now(UTC) + timedelta(seconds=0.2)
    data = {"tool_name": "slow", "parameters": {}, "seq_id": 70}
    assert caller.refused("call_tool", **data) == "deadline_exceeded"
    assert tools.calls[0].seconds <= 0.2
    assert caller.refused("call_tool", **data) == "outcome_unknown"
    caller.facts.deadline_at = None
    assert HostCall.objects.get().status == "started"


def test_a_tool_that_took_too_long_is_logged_without_its_values(tools, capable, caplog):
    caller = capable("slow")
    caller.facts.deadline_at = datetime.now(UTC) + timedelta(seconds=0.2)
    parameters = {"text": "private", "a": 1}
    with pytest.raises(ProtocolError, match="let one tool start long work"):
        caller("call_tool", tool_name="slow", parameters=parameters)
    (line,) = (one for one in caplog.records if "too long" in one.getMessage())
    told: Any = vars(line)
    assert (told["tool"], told["source"]) == ("slow", "tests")
    assert told["parameters"] == ["a", "text"]
    assert told["call"] == tools.calls[0].key
    assert told["conversation"] == caller.facts.conversation_public_id
    assert told["person"] == caller.facts.person
    assert 0 < told["seconds"] <= 0.2
    assert "private" not in str(told)


def used(run, tool):
    named = {"tool_call_id": "c1", "tool_name": tool, "parameters": {}}
    add_events(run, ("tool.call.started", named))


def test_a_tool_may_have_to_come_after_another_one(tools, capable):
    caller = capable("guide", "guided")
    data = {"tool_name": "guided", "parameters": {}}
    with pytest.raises(ProtocolError, match="call guide before guided") as caught:
        caller("call_tool", **data)
    assert caught.value.code == "tool_denied"
    assert tools.calls == []
    used(caller.run, "other")
    assert caller.refused("call_tool", **data) == "tool_denied"
    used(caller.run, "guide")
    assert caller("call_tool", **data)
    assert [one.name for one in tools.calls] == ["guided"]


def test_an_earlier_turn_of_this_conversation_counts(tools, capable):
    first = capable("guide", "guided")
    named = {"tool_call_id": "c1", "tool_name": "guide"}
    running = ledger.begin(first.run)
    AgentRun.objects.filter(pk=running.pk).update(snapshot=first.facts.snapshot)
    ended: dict[str, Any] = {**named, "result": {}, "error": None}
    started = NewEvent("tool.call.started", {**named, "parameters": {}})
    events = [started, NewEvent("tool.call.completed", ended)]
    ledger._write(running, events, None, publish=False)
    ledger.complete(running, publish=False)
    data = {"tool_name": "guided", "parameters": {}}
    later = capable("guide", "guided", run={"conversation": first.run.conversation})
    assert later("call_tool", **data)
    elsewhere = capable("guide", "guided")
    assert elsewhere.refused("call_tool", **data) == "tool_denied"
    reset_conversation(first.run.conversation, "ada")
    assert later.refused("call_tool", **data) == "tool_denied"


def test_a_tool_has_at_most_170_seconds(tools, capable):
    caller = capable("shout")
    caller.facts.deadline_at = datetime.now(UTC) + timedelta(hours=1)
    caller("call_tool", tool_name="shout", parameters={})
    assert tools.calls[0].seconds == 170


def test_a_result_over_1_mib_is_cut(tools, capable):
    result = capable("huge")("call_tool", tool_name="huge", parameters={})["result"]
    assert result["truncated"] is True
    assert len(result["text"]) == 10_000


def test_a_tool_that_is_gone_says_so(tools, capable, monkeypatch):
    caller = capable("shout", "large")
    install(monkeypatch)
    data = {"tool_name": "shout", "parameters": {}}
    assert caller.refused("call_tool", **data) == "not_found"
    assert caller.refused("get_tool_detail", tool_name="large") == "not_found"


@pytest.mark.parametrize("data", [{"tool_name": "shout"}, {"parameters": {}}])
def test_wrong_calls_execute_nothing(tools, capable, data):
    assert capable("shout").refused("call_tool", **data) == "invalid_request"
    assert tools.calls == []


def test_knowledge_is_retrieved_as_granted(knowledge, capable):
    caller = capable(knowledge_bases=["kb-1", "kb-9"])
    listed = caller.facts.resources.knowledge_bases
    assert [(base.kb_id, base.kb_name) for base in listed] == [("kb-1", "Handbook")]
    found = caller("retrieve_knowledge_base", kb_id="kb-1", query_text="cats")
    assert [hit["id"] for hit in found["results"]] == ["0", "1", "2", "3", "4"]
    caller(
        "retrieve_knowledge_base",
        kb_id="kb-1",
        query_text="dogs",
        top_k=2,
        filters={"lang": "en"},
    )
    assert knowledge.queries[1].filters == {"lang": "en"}
    for base in ("kb-2", "kb-9"):
        data = {"kb_id": base, "query_text": "x"}
        assert caller.refused("retrieve_knowledge_base", **data) == "permission_denied"
    refused: list[dict[str, Any]] = [{"top_k": 0}, {"top_k": 101}, {"query_text": None}]
    for wrong in refused:
        data = {"kb_id": "kb-1", "query_text": "x", **wrong}
        assert caller.refused("retrieve_knowledge_base", **data) == "invalid_request"


def test_knowledge_needs_capability_and_permission(knowledge, capable):
    kinds: list[dict[str, Any]] = [
        {"capabilities": {}},
        {"permissions": {}},
        {"binding": {"knowledge_bases": ["kb-2"]}},
    ]
    for given in kinds:
        caller = capable(knowledge_bases=["kb-1"], **given)
        assert caller.facts.resources.knowledge_bases == []


@pytest.mark.parametrize(
    "action",
    [
        "get_box_status",
        "list_boxes",
        "acquire_box",
        "bind_box",
        "import_box_attachments",
        "export_box_files",
    ],
)
def test_sandboxes_are_not_available(caller, action):
    assert caller.refused(action) == "not_available"
