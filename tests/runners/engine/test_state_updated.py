"""`state.updated` that is refused: a warning, nothing stored, and the run goes on."""

from uuid import uuid4

import pytest

from runners.access import Access
from runners.choices import RunStatus
from runners.engine.results import ResultLog
from runners.engine.snapshot import RunFacts
from runners.ledger import state_store
from runners.ledger.batches import Batch, write_batches
from runners.models import RunEvent, RunnerState
from tests.runners.engine.test_results import Feed, kinds, warnings
from tests.runners.ledger.test_fence import running

KEYS = {"conversation": "conversation:v2:abc", "actor": "actor:v2:abc"}


@pytest.fixture
def played(agent):
    """A running run, and what its runner sends."""
    run, token = running(agent)
    facts = RunFacts(
        pk=run.pk,
        public_id=run.public_id,
        conversation_id=run.conversation_id,
        conversation_public_id=str(uuid4()),
        workspace_id=run.workspace_id,
        runner_id=run.runner_id,
        event_type="message.received",
        access=Access(state_scopes=["conversation"]),
        scope_keys=KEYS,
        snapshot={},
    )
    log = ResultLog(facts)
    return Played(run, token, log)


class Played:
    def __init__(self, run, token, log):
        self.run, self.token, self.log = run, token, log
        self.feed = Feed(log)

    def write(self):
        """Write what there is as the engine does; returns the ledger's new events."""
        log, run = self.log, self.run
        events, log.events = log.events, []
        states, log.states = log.states, []
        batch = Batch(run.pk, run.conversation_id, self.token, events, states=states)
        last = write_batches([batch]).last_seq[run.pk]
        rows = RunEvent.objects.filter(run=run, seq__gt=last - len(events))
        return [(row.type, row.data) for row in rows.order_by("seq")]


def update(scope="conversation", key="k", value=1):
    return {"scope": scope, "key": key, "value": value}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (update(scope="actor"), "state_refused"),  # not granted
        (update(scope="somebody"), "invalid_result"),
        (update(key=""), "invalid_result"),
        (update(key="k" * 201), "state_refused"),
        (update(value="x" * 256 * 1024), "state_refused"),
        (update(value=float("nan")), "invalid_result"),
        ({"scope": "conversation", "value": 1}, "invalid_result"),
        ({"scope": "conversation", "key": 7, "value": 1}, "invalid_result"),
    ],
)
def test_a_refused_update_is_a_warning_and_changes_nothing(played, data, code):
    played.feed("state.updated", **data)
    assert warnings(played.log) == [code]
    assert played.log.states == []
    assert played.log.ending is None
    played.feed.delta("still here")
    written = played.write()
    assert [kind for kind, _ in written] == ["warning", "message.delta"]
    assert not RunnerState.objects.exists()


def test_what_is_accepted_is_stored_and_its_value_stays_out_of_the_ledger(played):
    played.feed("state.updated", **update(value={"secret": "s3"}))
    named = {"scope": "conversation", "key": "k"}
    assert played.write() == [("state.updated", named)]
    assert RunnerState.objects.get().value == {"secret": "s3"}


def test_a_key_too_many_is_refused_where_it_is_stored(played, monkeypatch):
    monkeypatch.setattr(state_store, "MAXIMUM_KEYS", 2)
    for key in ("a", "b", "c"):
        played.feed("state.updated", **update(key=key))
    played.feed("state.updated", **update(key="a", value=2))
    types = [kind for kind, _ in played.write()]
    assert types == ["state.updated", "state.updated", "warning", "state.updated"]
    stored = dict(RunnerState.objects.values_list("key", "value"))
    assert stored == {"a": 2, "b": 1}


def test_a_late_update_counts_no_more(played):
    played.log.fail("runner.error", "it broke", status=RunStatus.FAILED)
    played.feed("state.updated", **update())
    assert (kinds(played.log), played.log.states) == ([], [])
