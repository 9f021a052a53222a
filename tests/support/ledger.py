"""Playing the engine's part: moving runs through the ledger and publishing."""

import json
from datetime import UTC, datetime

from langbot.lib.redis import quick_client, run_live
from runners.choices import RunStatus
from runners.ledger.batches import Batch, Ending, write_batches
from runners.ledger.fence import NewEvent
from runners.ledger.finishing import Reply
from runners.live import document_of
from runners.models import AgentRun, RunEvent

TOKEN = 7


def begin(run):
    """Move a queued run to running."""
    AgentRun.objects.filter(pk=run.pk).update(
        status=RunStatus.RUNNING,
        fencing_token=TOKEN,
        started_at=datetime.now(UTC),
        snapshot={"delivery_policy": {}},
    )
    return AgentRun.objects.get(pk=run.pk)


def write(run, *texts, publish=True):
    """Append one delta per text."""
    events = [NewEvent("message.delta", {"text": text}) for text in texts]
    return _write(run, events, None, publish=publish)


def complete(run, text="done", *, publish=True, **reply):
    """End a run with a reply."""
    ending = Ending(RunStatus.COMPLETED, reply=Reply(text, **reply))
    return _write(run, [ending.event()], ending, publish=publish)


def fail(run, code="runner.error", *, publish=True):
    """End a run without a reply."""
    ending = Ending(RunStatus.FAILED, code, "it broke", retryable=True)
    return _write(run, [ending.event()], ending, publish=publish)


def _write(run, events, ending, *, publish):
    batch = Batch(run.pk, run.conversation_id, TOKEN, events, ending=ending)
    last = write_batches([batch]).last_seq[run.pk]
    if publish:
        rows = RunEvent.objects.filter(run=run, seq__gt=last - len(events))
        announce(run, rows.order_by("seq"))
    return last


def announce(run, rows):
    """Publish ledger rows as the engine does."""
    key = run_live(run.public_id)
    pipeline = quick_client().pipeline(transaction=False)
    for row in rows:
        document = json.dumps(document_of(run.public_id, row))
        pipeline.xadd(key, {b"e": document}, id=f"{row.seq}-0")
    pipeline.expire(key, 60)
    pipeline.execute()
