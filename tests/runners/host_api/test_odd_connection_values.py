"""Odd values in the calls of a plugin that belong to no run."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from agents.models import PluginConnection
from agents.registry.connections import Registered
from agents.registry.tokens import create_plugin_token
from runners.host_api.connection_calls import HANDLERS, Asked, ConnectionCalls
from runners.protocol.frames import Request, Response, parse_frame
from runners.runtimes import registry
from runners.runtimes.callers import caller_of
from tests.runners.host_api.test_odd_values import INFINITE, ODD, OURS

pytestmark = pytest.mark.django_db(transaction=True)

RUN = str(uuid4())
HELD = {"target_run_id": RUN, "runtime_id": "one", "claim_token": "1-x"}
CLOCK = ("heartbeat_deadline_at", "capabilities", "labels", "metadata", "status")
CALLS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "run_get": ({"target_run_id": RUN}, ()),
    "run_list": ({}, ("conversation_id", "statuses", "before_cursor", "limit")),
    "run_events_page": ({"target_run_id": RUN}, ("after_cursor", "direction")),
    "run_cancel": ({"target_run_id": RUN}, ("reason",)),
    "run_append_result": ({"target_run_id": RUN, "result": {}}, ("claim_token",)),
    "run_finalize": ({"target_run_id": RUN}, ("status", "usage", "reason")),
    "run_claim": ({"runtime_id": "one"}, ("queue_name", "lease_seconds", "runner_ids")),
    "run_renew_claim": (HELD, ("lease_seconds",)),
    "run_release_claim": (HELD, ("reason",)),
    "runtime_register": ({"runtime_id": "one"}, (*CLOCK, "endpoint", "version")),
    "runtime_heartbeat": ({"runtime_id": "one"}, CLOCK),
    "runtime_list": ({}, ("statuses", "labels", "cursor", "limit")),
    "runtime_reconcile": ({}, ("stale_after_seconds",)),
    "runner_list": ({}, ("include_plugins",)),
    "run_stats": ({}, ("start_time", "end_time", "runner_id")),
    "runner_stats": ({}, ("start_time", "limit")),
    "get_bot_info": ({"bot_uuid": RUN}, ()),
    "get_config_file": ({"file_key": "x"}, ()),
    "send_message": (
        {"bot_uuid": RUN, "target_type": "person", "target_id": "1"},
        ("message_chain", "message"),
    ),
}


def registered(workspace):
    token, _ = create_plugin_token("odd", workspace=workspace, control_plane=True)
    row = PluginConnection.objects.create(
        token=token, workspace=workspace, plugin="acme/odd", status="online"
    )
    registry.register(caller_of(row.public_id, "acme/odd"), "one", {}, None)
    return Registered(row.public_id, "acme/odd", str(workspace.pk))


def infinite(value):
    """Return the value as a parser gives it."""
    if isinstance(value, list):
        return [infinite(one) for one in value]
    if isinstance(value, dict):
        return {key: infinite(one) for key, one in value.items()}
    return float("inf") if value == INFINITE else value


@pytest.mark.timeout(300)  # some thousand calls
async def test_no_value_makes_the_host_fail(caplog, workspace):
    connection = await sync_to_async(registered)(workspace)
    calls = ConnectionCalls()

    async def code_of(action, data):
        request = Request(1, action, data)
        asked = Asked(connection, request, lambda _: None, lambda _: None)
        answer = parse_frame(await calls.answer(asked))
        assert isinstance(answer, Response)
        return answer.error().code if answer.is_error else "ok"

    failures = []
    for action, (data, optional) in CALLS.items():
        for field in (*data, *optional):
            given = [{**data, field: infinite(value)} for value in ODD]
            codes = await asyncio.gather(*(code_of(action, one) for one in given))
            failures += [
                (action, field, str(value)[:40], code)
                for value, code in zip(ODD, codes, strict=True)
                if code in OURS
            ]
    calls.database.shutdown()
    assert failures == []
    assert [record for record in caplog.records if record.exc_info] == []
    assert set(CALLS) <= set(HANDLERS)
