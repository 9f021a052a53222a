"""A run's events as `text/event-stream`."""

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from uuid import UUID

from django.db import connection
from django.http import StreamingHttpResponse
from django.utils.translation import gettext as _
from rest_framework.request import Request

from langbot.core.pagination import read_integer
from langbot.problems import invalid
from runners.choices import EventType
from runners.live import follow_batches
from runners.live_hub import LiveEvent

logger = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"
MAXIMUM_SEQ = 2**31 - 1  # the column's
_COMMENT = ": still here\n\n"
# Sent at once, so that the headers are; a dropped client comes back after a second.
_OPENING = "retry: 1000\n\n"


def wants_stream(request: Request) -> bool:
    """Whether `Accept` asks for a stream rather than a JSON answer."""
    accepted = request.headers.get("Accept", "").lower().split(",")
    return any(kind.partition(";")[0].strip() == MEDIA_TYPE for kind in accepted)


def read_after(request: Request) -> int:
    """Return where to resume: `?after=`, else `Last-Event-ID`, else 0."""
    given = request.query_params.get("after")
    if given is None:
        given = request.headers.get("Last-Event-ID", "").strip() or "0"
    number = read_integer(given)
    if number is None or number > MAXIMUM_SEQ:
        raise invalid({"after": [_("Enter the number of an event.")]})
    return number


def stream_run(run_id: UUID, after: int = 0) -> StreamingHttpResponse:
    """Answer with the events of a run after `after`, to its end."""
    return stream_batches(follow_batches(run_id, after))


def stream_batches(
    batches: AsyncGenerator[list[LiveEvent], None], *known: LiveEvent
) -> StreamingHttpResponse:
    """Answer with the known events at once, then with others as they come."""
    release_connection()
    opening = _OPENING + "".join(map(_frame, known))
    chunks = _chunks(opening, batches, *known)
    response = StreamingHttpResponse(chunks, content_type=MEDIA_TYPE)
    response["Cache-Control"] = "no-store"
    response["X-Accel-Buffering"] = "no"
    return response


def release_connection() -> None:
    """Give the view's database connection back before a long wait.

    Django would keep it until the response is finished: ten streams would hold all
    connections of a pool of ten. One that its thread keeps anyway stays open.
    """
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


async def _chunks(
    opening: str, batches: AsyncGenerator[list[LiveEvent], None], *known: LiveEvent
) -> AsyncIterator[bytes]:
    # Django asks for the character set of each part that is a text.
    yield opening.encode()
    last = known[-1] if known else None
    try:
        async with aclosing(batches):
            async for batch in batches:
                last = batch[-1] if batch else last
                yield ("".join(map(_frame, batch)) or _COMMENT).encode()
    except Exception:  # the answer has begun: all that can be done is to say so
        logger.exception("a stream broke off")
        yield _broken(last).encode()


def _broken(last: LiveEvent | None) -> str:
    """Return what ends a stream that cannot go on (AG-53).

    It has no id: who comes back resumes after the last event of the ledger.
    """
    known = last.document if last is not None else {"run_id": None, "seq": 0}
    said = {"code": "stream_error", "detail": "the stream broke off; follow it again"}
    now = datetime.now(UTC).isoformat()
    document = {**known, "type": EventType.WARNING, "data": said, "created_at": now}
    return f"event: {EventType.WARNING}\ndata: {json.dumps(document)}\n\n"


def _frame(event: LiveEvent) -> str:
    return f"id: {event.seq}\nevent: {event.document['type']}\ndata: {event.text}\n\n"
