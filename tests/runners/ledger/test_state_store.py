"""Runner state is bounded where it is written and where a context carries it."""

import pytest

from runners.ledger import state_store
from runners.ledger.batches import Batch, write_batches
from runners.ledger.fence import NewEvent
from runners.ledger.state_store import (
    StateRefusedError,
    StateWrite,
    list_keys,
    read_state,
    read_states,
    write_state,
)
from runners.models import RunEvent
from tests.runners.ledger.test_fence import running

SCOPE_KEY = "conversation:v2:abc"
KEYS = {"conversation": SCOPE_KEY, "actor": "actor:v2:abc"}

pytestmark = pytest.mark.django_db


def value(workspace, key, content, scope="conversation"):
    return StateWrite(workspace.pk, "plugin:a/b/c", scope, KEYS[scope], key, content)


def test_a_context_carries_state_up_to_its_budget(workspace):
    for number in range(70):
        write_state(value(workspace, f"k{number:02}", "x" * 256_000))
    inlined = read_states(KEYS, ["conversation", "actor"])
    assert list(inlined["conversation"]) == ["k00", "k01", "k02", "k03"]
    assert inlined["actor"] == {}
    assert read_state(SCOPE_KEY, "k69") == "x" * 256_000
    assert len(list_keys(SCOPE_KEY, "", 100)[0]) == 70


def test_small_state_is_carried_whole_over_several_pages(workspace):
    for number in range(120):
        write_state(value(workspace, f"k{number}", number))
    write_state(value(workspace, "who", {"name": "Ada"}, scope="actor"))
    inlined = read_states(KEYS, ["conversation", "actor"])
    assert inlined["conversation"] == {f"k{number}": number for number in range(120)}
    assert inlined["actor"] == {"who": {"name": "Ada"}}


def test_a_new_key_over_the_limit_is_refused(workspace, monkeypatch):
    monkeypatch.setattr(state_store, "MAXIMUM_KEYS", 3)
    for key in "abc":
        write_state(value(workspace, key, 1))
    with pytest.raises(StateRefusedError):
        write_state(value(workspace, "d", 1))
    write_state(value(workspace, "a", 2))
    write_state(value(workspace, "d", 1, scope="actor"))
    assert read_state(SCOPE_KEY, "a") == 2
    assert read_state(SCOPE_KEY, "d") is None


def test_a_refused_write_is_a_warning_and_the_batch_stands(
    agent, workspace, monkeypatch
):
    monkeypatch.setattr(state_store, "MAXIMUM_KEYS", 1)
    run, token = running(agent)
    events = [
        NewEvent("state.updated", {"scope": "conversation", "key": key}) for key in "ab"
    ]
    states = [value(workspace, key, 1) for key in "ab"]
    write_batches([Batch(run.pk, run.conversation_id, token, events, states=states)])
    written = RunEvent.objects.filter(run=run, seq__gt=run.last_seq).order_by("seq")
    assert [event.type for event in written] == ["state.updated", "warning"]
    assert written[1].data["code"] == "state_refused"
    assert read_state(SCOPE_KEY, "b") is None
