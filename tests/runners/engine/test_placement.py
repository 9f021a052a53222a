"""Places of a plugin connection: what waits never takes the last one."""

import time
from uuid import uuid4

import pytest
from pydantic import ValidationError

from langbot.lib.conf import Limits, limits
from langbot.lib.redis import connection_runs, runner_connections, stream_client
from runners.engine.placement import Place, Placement, Unplaced

RUNNER = "plugin:acme/placed/default"


async def places(client, workspace, depth, count):
    """Reserve until there is none; returns the runs that have a place."""
    found = []
    for _ in range(count):
        run_id = uuid4()
        place = await Placement(client).reserve(run_id, workspace, RUNNER, 60, depth)
        if place is Unplaced.BUSY:
            break
        assert isinstance(place, Place)
        found.append((run_id, place))
    return found


async def test_each_depth_has_places_that_those_above_cannot_take():
    client, workspace, connection = stream_client(), str(uuid4()), uuid4()
    key = runner_connections(workspace, RUNNER)
    await client.zadd(key, {f"{uuid4()}|{connection}": time.time()})
    await client.expire(key, 60)
    try:
        counts = [len(await places(client, workspace, n, 200)) for n in range(4)]
        more = limits().sub_runs_per_connection
        assert counts == [limits().runs_per_connection, more, more, more]
        for depth in range(4):
            assert await places(client, workspace, depth, 1) == []
    finally:
        await client.delete(key, connection_runs(connection))
        await client.aclose()


@pytest.mark.parametrize(
    "given", [{"runs_per_connection": 104}, {"sub_runs_per_connection": 0}]
)
def test_the_places_fit_into_the_slots_of_the_sdk(given):
    with pytest.raises(ValidationError, match="128 slots"):
        Limits(**given)
