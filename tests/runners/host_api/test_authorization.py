"""Every host call × who may not make it, at the worker that owns the run.

The other door, a web node that refuses other runs and other plugins, has the same
table in `tests/runners/gateway/test_hostile_calls.py`.
"""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from runners.access import Access
from runners.engine.active import ActiveRun, Tenure
from runners.engine.placement import Place
from runners.engine.snapshot import freeze, load_runs
from runners.engine.starter import Starter
from runners.host_api.authorization import RULES, check_rights
from runners.host_api.dispatch import HANDLERS, STREAMS
from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode, ProtocolError
from tests.runners.engine.test_host_calls import Plugin, working_engine
from tests.runners.ledger.test_fence import running
from tests.support.call_table import CALLS, COLUMNS, fill, said, too_large
from tests.support.call_worlds import MARK, furnish, make_agent

pytestmark = pytest.mark.django_db(transaction=True)

OWN, NEAR, FAR = "own-run", "near-run", "far-run"


def build(name, place, plugin="acme/own"):
    agent = make_agent(name, place, plugin)
    run, token = running(agent)
    (run,) = load_runs([run.pk])
    return run, token, furnish(run, name)


@asynccontextmanager
async def caller(change=lambda facts: None):
    """A run with all rights, what its plugin is answered, and the worlds' ids."""
    run, token, ids = await sync_to_async(build)(OWN, "own-place")
    _, _, near = await sync_to_async(build)(NEAR, "own-place", "acme/near")
    _, _, far = await sync_to_async(build)(FAR, "far-place", "acme/far")
    facts = await sync_to_async(freeze)(run)
    # What nobody has granted yet in a world without its providers.
    facts.access.apis = dict.fromkeys(facts.access.apis, True)
    facts.access.knowledge_bases = {ids["base"]: ["list", "retrieve"]}
    change(facts)
    async with working_engine() as engine:
        place = Place(f"node-{uuid4()}", uuid4())
        active = ActiveRun(facts, Tenure(token, 1, place), engine.on_call)
        engine.active[run.public_id] = active
        engine.starter = Starter(engine)
        yield Plugin(engine, active), {"own": ids, "near": near, "far": far}


async def answers(plugin, calls):
    """Return the code of each call's answer, `ok` for data; and all it said."""
    codes, words = {}, {}
    for action, data in calls.items():
        answer = await plugin.ask(action, data)
        is_error = isinstance(answer, str)
        codes[action] = answer if is_error else "ok"
        words[action] = "" if is_error else said(answer)
    return codes, words


def expected(column):
    return {action: row[column] for action, row in CALLS.items()}


def test_every_action_has_its_row_and_its_rule():
    handled = {*map(str, HANDLERS), *map(str, STREAMS), str(Action.CANCEL_ACTION)}
    assert set(CALLS) == handled
    assert set(map(str, RULES)) == handled
    for action, row in CALLS.items():
        assert set(row) >= COLUMNS, action


async def test_granted_calls_are_answered():
    async with caller() as (plugin, ids):
        calls = {name: fill(row["data"], ids["own"]) for name, row in CALLS.items()}
        codes, words = await answers(plugin, calls)
        assert codes == expected("granted")
        mine = [name for name, text in words.items() if f"{MARK} own" in text]
        assert {"history_page", "state_get", "artifact_read"} <= set(mine)


async def test_without_a_grant_nothing_is_answered():
    def withhold(facts):
        facts.access = Access()

    async with caller(withhold) as (plugin, ids):
        calls = {name: fill(row["data"], ids["own"]) for name, row in CALLS.items()}
        codes, _ = await answers(plugin, calls)
        assert codes == expected("withheld")


@pytest.mark.parametrize(
    ("column", "whose"), [("conversation", "near"), ("workspace", "far")]
)
async def test_ids_of_others_open_nothing(column, whose):
    async with caller() as (plugin, ids):
        calls = {name: fill(row["data"], ids[whose]) for name, row in CALLS.items()}
        codes, words = await answers(plugin, calls)
        assert codes == expected(column)
        marks = [f"{MARK} {whose}", "acme/near", "acme/far"]
        leaks = [name for name, text in words.items() for m in marks if m in text]
        assert leaks == []


async def test_an_ended_run_is_answered_nothing():
    async with caller() as (plugin, ids):
        plugin.active.log.fail(ErrorCode.RUNNER_ERROR, "it broke")
        calls = {name: fill(row["data"], ids["own"]) for name, row in CALLS.items()}
        codes, _ = await answers(plugin, calls)
        assert codes == expected("ended")


async def test_after_the_deadline_nothing_is_answered():
    def let_pass(facts):
        facts.deadline_at = datetime.now(UTC) - timedelta(milliseconds=10)

    async with caller(let_pass) as (plugin, ids):
        calls = {name: fill(row["data"], ids["own"]) for name, row in CALLS.items()}
        codes, _ = await answers(plugin, calls)
        assert codes == expected("late")


async def test_fields_that_are_too_large_are_refused():
    rows = {
        name: row
        for name, row in CALLS.items()
        if row["over"] and "field" in row["over"]
    }
    async with caller() as (plugin, ids):
        calls = {name: too_large(row, ids["own"]) for name, row in rows.items()}
        codes, _ = await answers(plugin, calls)
        assert codes == {name: row["over"]["code"] for name, row in rows.items()}
    assert {"state_set", "set_plugin_storage", "invoke_llm"} <= set(rows)


NAMING = {
    "state_get": "scope",
    "run_get": "target_run_id",
    "invoke_llm": "llm_model_uuid",
}


@pytest.mark.parametrize(("action", "field"), NAMING.items())
@pytest.mark.parametrize("value", [None, 7, [], {}, ["conversation"], True])
def test_what_is_no_name_is_no_grant(workspace, action, field, value):
    run, _token, ids = build(OWN, "own-place")
    facts = freeze(run)
    data = {**fill(CALLS[action]["data"], ids), field: value}
    for given in (data, {key: data[key] for key in data if key != field}):
        with pytest.raises(ProtocolError) as refused:
            check_rights(facts, action, given)
        assert refused.value.code == "invalid_request"


@pytest.mark.parametrize("value", [7, [], {}, ["x"], True])
def test_an_odd_conversation_is_not_ones_own(workspace, value):
    run, _token, _ids = build(OWN, "own-place")
    with pytest.raises(ProtocolError) as refused:
        check_rights(freeze(run), "history_page", {"conversation_id": value})
    assert refused.value.code == "invalid_request"


def test_an_action_without_a_rule_is_refused(workspace):
    run, _token, _ids = build(OWN, "own-place")
    facts = freeze(run)
    unruled = [action for action in Action if action not in RULES]
    assert Action.RUN_CLAIM in unruled
    for action in [*unruled, "no_such_action", "x" * 500]:
        with pytest.raises(ProtocolError) as refused:
            check_rights(facts, action, {})
        assert refused.value.code == "action.not_found"
