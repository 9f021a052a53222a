"""What a run's own host calls add to its log, beside what it streams."""

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from runners.access import Access
from runners.engine.own_results import OwnResults
from runners.engine.results import ResultLog
from runners.engine.snapshot import RunFacts
from runners.runtimes.endings import apply_result


class Writer:
    """Commits at once: what a call waits for is told its event."""

    def mark(self, run):
        for number, one in enumerate(run.awaited, 1):
            one.future.set_result((number, one.event))


@pytest.fixture
def results():
    facts = RunFacts(
        pk=1,
        public_id=uuid4(),
        conversation_id=1,
        conversation_public_id=str(uuid4()),
        workspace_id=1,
        runner_id="plugin:a/b/c",
        event_type="message.received",
        access=Access(),
        scope_keys={},
        snapshot={},
    )
    return ResultLog(facts)


@pytest.fixture
def add(results):
    """Add a delta by a host call; returns what the call is answered with."""

    async def add(text):
        run: Any = SimpleNamespace(log=results, awaited=[])
        engine: Any = SimpleNamespace(writer=Writer())
        own = OwnResults(engine, run, 1)
        chunk = {"role": "assistant", "content": text}
        raw = {"type": "message.delta", "data": {"chunk": chunk}}
        return await own.add(lambda log: apply_result(log, raw))

    return add


async def test_a_result_that_adds_nothing_is_not_answered_with_anothers_event(
    results, add
):
    results.warn("streamed", "it is not written yet")
    assert await add("") is None
    assert [event.type for event in results.events] == ["warning"]


async def test_text_that_joins_a_pending_event_is_answered_with_it(add):
    await add("Hel")
    _number, event = await add("lo")
    assert event.data == {"text": "Hello"}
    assert await add("Hello") is None  # said before
