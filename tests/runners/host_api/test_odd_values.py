"""Odd values in every field of every host call: refused in words, or of no effect."""

import json

import pytest

from langbot.lib.buckets import LocalBucket
from tests.runners.host_api.test_authorization import caller
from tests.support.call_table import CALLS, fill

pytestmark = pytest.mark.django_db(transaction=True)

INFINITE = "@1e999@"  # JSON has no other word for it
DEEP: dict[str, object] = {}
for _ in range(60):
    DEEP = {"a": DEEP}
ODD = [
    None,
    True,
    -1,
    10**40,
    INFINITE,
    "",
    "x" * 3000,
    [],
    [INFINITE],
    {"x": INFINITE},
    DEEP,
]
# They end the run, and so the questions.
ENDING = {"run_cancel", "run_finalize"}
OURS = {"runtime_error", "unavailable"}  # a failure of the host


PAGES = ("limit", "before_cursor", "after_cursor", "direction", "conversation_id")
MODELS = ("messages", "funcs", "extra_args", "timeout", "remove_think")
OPTIONAL = {
    "history_page": PAGES,
    "history_search": ("filters", "top_k"),
    "event_page": (*PAGES, "event_types"),
    "state_list": ("prefix", "limit"),
    "run_list": (*PAGES, "statuses"),
    "run_events_page": PAGES,
    "artifact_read": ("offset", "limit"),
    "artifact_read_range": ("offset", "length"),
    "invoke_llm": MODELS,
    "invoke_llm_stream": MODELS,
    "count_tokens": MODELS,
    "invoke_rerank": ("top_k", "extra_args", "timeout"),
    "call_tool": ("tool_call_id",),
    "retrieve_knowledge_base": ("top_k", "filters"),
    "call_platform_api": ("params", "context_tool", "file_ids", "bot_uuid"),
    "steering_pull": ("mode", "limit"),
}


def odd_calls(ids):
    for action in sorted(CALLS.keys() - ENDING):
        data = fill(CALLS[action]["data"], ids)
        for field in {**data, **dict.fromkeys(OPTIONAL.get(action, ()))}:
            for value in ODD:
                yield action, field, {**data, field: value}


async def ask(plugin, action, data):
    """Return the answer's data, or the code of its error."""
    plugin.calls += 1
    run_id = str(plugin.active.facts.public_id)
    frame = {
        "seq_id": plugin.calls,
        "action": action,
        "data": {"run_id": run_id, **data},
    }
    text = json.dumps(frame).replace(f'"{INFINITE}"', "1e999")
    plugin.active.feed(f"{plugin.calls}-0", text.encode())
    response = await plugin._answer(plugin.calls)
    return response.error().code if response.is_error else response.data


@pytest.mark.timeout(300)  # some thousand calls
async def test_no_value_makes_the_host_fail(caplog, monkeypatch):
    async with caller() as (plugin, ids):
        failures = []
        monkeypatch.setattr(LocalBucket, "take", lambda _bucket: 0.0)
        for action, field, data in odd_calls(ids["own"]):
            answer = await ask(plugin, action, data)
            if isinstance(answer, str) and answer in OURS:
                failures.append((action, field, str(data[field])[:40], answer))
    assert failures == []
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize(
    ("action", "data"),
    [
        ("call_tool", {"tool_name": "event_reply", "parameters": {"text": INFINITE}}),
        ("call_platform_api", {"action": "send_message", "params": {"x": [INFINITE]}}),
    ],
)
async def test_nobody_is_asked_about_what_cannot_be_kept(action, data):
    def ask_first(facts):
        facts.access.tools["platform_send_message"] = ["call"]
        facts.snapshot["approval_policy"] = {"mode": "default", "ask": ["*"]}

    async with caller(ask_first) as (plugin, _ids):
        assert await ask(plugin, action, data) == "invalid_request"
