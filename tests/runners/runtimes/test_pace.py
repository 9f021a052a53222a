"""How often the holder of a remotely held run may call within it."""

import pytest
from asgiref.sync import async_to_sync

from agents.registry.connections import Registered
from langbot.lib.buckets import LocalBucket
from runners.host_api.remote import answer_within_run, note_claim
from runners.protocol.errors import ProtocolError
from runners.protocol.frames import Request
from tests.runners.host_api.conftest import Inline
from tests.runners.runtimes.test_leases import caller, claim, runtime, waiting

__all__ = ["caller", "runtime", "waiting"]  # fixtures


@pytest.fixture
def held(caller, runtime, waiting):
    """A connection that holds a run, and a call of `run_get` within it."""
    waiting()
    run = claim(caller, runtime)
    connection = Registered(caller.connection_id, caller.plugin, str(run.workspace_id))
    note_claim(connection, "run_claim", str(run.public_id))
    data = {"run_id": str(run.public_id), "target_run_id": str(run.public_id)}

    def call():
        request = Request(1, "run_get", data)
        answer = async_to_sync(answer_within_run)
        return answer(connection, request, Inline(), lambda _chunk: None)

    return connection, run.public_id, call


def test_a_held_run_has_a_pace_of_its_own(held):
    connection, run_id, call = held
    assert b'"code":0' in call()
    connection.claimed[run_id] = LocalBucket(0.001, 1)
    assert b'"code":0' in call()
    note_claim(connection, "run_renew_claim", str(run_id))  # gives nothing back
    with pytest.raises(ProtocolError) as refused:
        call()
    assert refused.value.code == "rate_limited"
    assert refused.value.details["retry_after"] > 0
