"""Which plugin connection carries a run: the least loaded, reserved atomically."""

import time
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from redis.asyncio import Redis

from agents.registry.connections import ANY_PLUGIN
from langbot.lib.conf import limits
from langbot.lib.redis import connection_runs, invocation_name, runner_connections

# A connection is present while its web node's heartbeat is younger than this.
_PRESENT_SECONDS = 8
_RESERVATION_EXTRA_SECONDS = 300

# KEYS: sets of connections (`node|connection`, scored by last heartbeat).
# ARGV: prefix of reservation keys, invocation, limit, present seconds, life, expiry of
# the reservation. Answers the member, 'busy' or 'offline'.
_RESERVE = """
local now = tonumber(redis.call('TIME')[1])
local best, best_load = nil, nil
local found = false
for _, key in ipairs(KEYS) do
  local members = redis.call('ZRANGEBYSCORE', key, now - tonumber(ARGV[4]), '+inf')
  for _, member in ipairs(members) do
    found = true
    local runs = ARGV[1] .. string.sub(member, string.find(member, '|', 1, true) + 1)
    if redis.call('ZSCORE', runs, ARGV[2]) then return member end
    redis.call('ZREMRANGEBYSCORE', runs, '-inf', now)
    local load = redis.call('ZCARD', runs)
    if load < tonumber(ARGV[3]) and (best_load == nil or load < best_load) then
      best, best_load = member, load
    end
  end
end
if best == nil then
  if found then return 'busy' end
  return 'offline'
end
local runs = ARGV[1] .. string.sub(best, string.find(best, '|', 1, true) + 1)
redis.call('ZADD', runs, ARGV[6], ARGV[2])
redis.call('EXPIRE', runs, tonumber(ARGV[5]))
return best
"""


class Unplaced(Enum):
    """Why a run stays queued; the value is its status reason."""

    BUSY = "runner_busy"
    OFFLINE = "runner_offline"


@dataclass(frozen=True, slots=True)
class Place:
    """A reserved slot of one plugin connection."""

    web_node: str
    connection_id: UUID


class Placement:
    """Reserves and frees slots; a slot also frees itself after the run's deadline."""

    def __init__(self, client: Redis) -> None:
        self._reserve = client.register_script(_RESERVE)
        self._client = client

    async def reserve(
        self,
        run_id: UUID,
        workspace: str,
        runner_id: str,
        life_seconds: float,
        depth: int = 0,
        invocation: int = 1,
    ) -> Place | Unplaced:
        """Take a slot for the run's invocation; repeating that changes nothing.

        Each depth of sub-runs has some slots more: where all others are taken by runs
        that wait, there is one for what they wait for.
        """
        bounds = limits()
        most = bounds.runs_per_connection + depth * bounds.sub_runs_per_connection
        expiry = time.time() + life_seconds + _RESERVATION_EXTRA_SECONDS
        answer = await self._reserve(
            keys=[
                runner_connections(workspace, runner_id),
                runner_connections(ANY_PLUGIN, runner_id),
            ],
            args=[
                connection_runs(""),
                invocation_name(run_id, invocation),
                most,
                _PRESENT_SECONDS,
                bounds.connection_life_seconds,
                int(expiry),
            ],
        )
        text = answer.decode()
        if text in {"busy", "offline"}:
            return Unplaced[text.upper()]
        node, _, connection = text.partition("|")
        return Place(node, UUID(connection))

    async def release(self, place: Place, run_id: UUID, invocation: int) -> None:
        """Give the slot of an invocation back."""
        slots = connection_runs(place.connection_id)
        await self._client.zrem(slots, invocation_name(run_id, invocation))
