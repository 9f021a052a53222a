"""What a run's approval policy makes of its calls, before anybody waits."""

from uuid import uuid4

import pytest

from runners.host_api.waiting import WaitClock, Waits
from runners.models import HostCall, PendingAction
from runners.protocol.errors import ProtocolError
from tests.runners.host_api.providers import Tools, install

pytestmark = pytest.mark.django_db
PERMISSIONS = {"tools": ["detail", "call"]}


@pytest.fixture
def tools(monkeypatch):
    tools = Tools()
    install(monkeypatch, tools)
    return tools


@pytest.fixture
def caller(caller_of, tools):
    """A caller whose run was frozen with this policy."""

    def make(**policy):
        names = ("shout", "broken")
        capable = {"tool_calling": True}
        made = caller_of(PERMISSIONS, capabilities=capable, tools=names)
        made.facts.snapshot["approval_policy"] = {"mode": "default", **policy}
        return made

    return make


def test_an_allowed_tool_runs_and_nobody_is_asked(caller, tools):
    allowed = caller(allow=["sh*"])
    assert allowed("call_tool", tool_name="shout", parameters={"text": "a"})
    assert [call.name for call in tools.calls] == ["shout"]
    assert not PendingAction.objects.exists()


@pytest.mark.parametrize("policy", [{"deny": ["sh*"]}, {"mode": "dontAsk"}])
def test_a_denied_tool_does_not_run(caller, tools, policy):
    with pytest.raises(ProtocolError) as denied:
        caller(**policy)("call_tool", tool_name="shout", parameters={})
    assert denied.value.code == "tool_denied"
    assert tools.calls == []
    assert not HostCall.objects.exists()


def test_a_plain_run_asks_the_database_no_more(
    caller_of, tools, django_assert_num_queries
):
    plain = caller_of(
        PERMISSIONS, capabilities={"tool_calling": True}, tools=("shout",)
    )
    with django_assert_num_queries(2):  # the journal's
        plain("call_tool", tool_name="shout", parameters={"text": "a"})


def test_the_clock_stands_still_for_as_long_as_is_waited(caller):
    facts = caller().facts
    before = facts.deadline_at
    clock = WaitClock(facts)
    clock.begin()
    assert (facts.deadline_at - before).total_seconds() == 150
    clock.begin()
    clock.end()
    assert clock.is_changed
    assert (facts.deadline_at - before).total_seconds() == 150
    clock.end()
    assert (facts.deadline_at - before).total_seconds() < 150
    assert 0 < clock.seconds_left <= 150
    spent = WaitClock(facts)
    spent.begin(spent=140.0)
    assert 0 < spent.seconds_left <= 10


async def test_a_wait_ends_when_it_is_woken_or_over():
    waits, looks, run_id = Waits(), [], uuid4()

    async def look():
        looks.append(1)
        if len(looks) == 1:
            waits.wake(run_id)
            return None
        return "found"

    assert await waits.until(run_id, look, lambda: 60.0) == "found"

    async def nothing():
        return None

    assert await waits.until(run_id, nothing, lambda: 0.0) is None
    assert waits._waiting == {}
