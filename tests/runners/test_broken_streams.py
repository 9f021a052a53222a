"""What a client reads when its stream cannot go on (AG-53)."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.db import OperationalError

from runners.api.sse import stream_batches
from runners.choices import EventType
from runners.live import event_of

pytestmark = pytest.mark.django_db(transaction=True)


def some(run_id, seq):
    moment = datetime.now(UTC)
    return event_of(run_id, seq, EventType.MESSAGE_DELTA, {"text": "Hel"}, moment)


async def text_of(response):
    return "".join([part.decode() async for part in response])


@pytest.mark.parametrize("number", [0, 1])
async def test_it_ends_with_an_event_that_says_so(number):
    run_id = uuid4()

    async def batches():
        for seq in range(1, number + 1):
            yield [some(run_id, seq)]
        message = "the database is away: secret"
        raise OperationalError(message)

    text = await text_of(stream_batches(batches()))
    assert text.count("id: ") == number  # none that a client would resume after
    assert "secret" not in text
    last = text.rstrip().rpartition("\n\n")[2].splitlines()
    assert last[0] == "event: warning"
    document = json.loads(last[1].removeprefix("data: "))
    assert document["data"]["code"] == "stream_error"
    assert document["seq"] == number
    assert document["run_id"] == (str(run_id) if number else None)


async def test_a_stream_that_ends_says_nothing_of_it():
    async def batches():
        yield [some(uuid4(), 1)]

    assert "stream_error" not in await text_of(stream_batches(batches()))
