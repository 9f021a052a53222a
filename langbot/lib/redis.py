"""Redis clients from one place, and the names of every key with its life.

Stream clients block for up to 2 s and must neither time out below that nor retry a
read by themselves: redis-py's defaults hung for a minute on a server that went away.
"""

from functools import lru_cache

import redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from langbot.lib.conf import conf

BLOCK_MILLISECONDS = 2000
SHORT_SECONDS = 0.3  # a caller never waits longer for transport (architecture 2)
FAILURES = (redis.RedisError, OSError)


def stream_client() -> AsyncRedis:
    """Return a new asyncio client for streams; the caller closes it."""
    return AsyncRedis.from_url(
        conf().redis_url,
        socket_timeout=None,
        socket_connect_timeout=SHORT_SECONDS * 10,
        retry=AsyncRetry(NoBackoff(), 0),
    )


@lru_cache(maxsize=1)
def quick_client() -> redis.Redis:
    """Return the process's client for short calls: one try, 0.3 s."""
    return redis.Redis.from_url(
        conf().redis_url,
        socket_timeout=SHORT_SECONDS,
        socket_connect_timeout=SHORT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def _key(*parts: object) -> str:
    return conf().redis_prefix + ":".join(map(str, parts))


def node_inbox(node: object) -> str:
    """Frames to a web node; 60 s, renewed by its heartbeat."""
    return _key("node", node, "in")


def node_inbox_size(node: object) -> str:
    """Bytes in a web node's inbox; lives as long as that."""
    return _key("node", node, "size")


def node_alive(node: object) -> str:
    """Heartbeat of a web node; 6 s."""
    return _key("node", node, "alive")


def invocation_name(run: object, invocation: int) -> str:
    """Return what one invocation of a run is called; the first as the run itself.

    So that a worker which is late with an earlier one touches nothing of a later.
    """
    return f"{run}:{invocation}" if invocation > 1 else str(run)


def run_inbound(run: object, invocation: int = 1) -> str:
    """Frames of a run's invocation on their way to its worker; deadline + 10 min."""
    return _key("in", invocation_name(run, invocation))


def run_live(run: object) -> str:
    """Live events of one run; 1 h, 20 s after its end."""
    return _key("run", run)


def run_followers(run: object) -> str:
    """Connections that clients opened to a run; 1 h after the last one."""
    return _key("followers", run)


def worker_inbox(node: object) -> str:
    """Hints to a worker (cancel this run); 60 s after the last one."""
    return _key("worker", node, "in")


def connection_runs(connection: object) -> str:
    """Reserved runs of a plugin connection, scored by expiry; 30 s, renewed."""
    return _key("conn", connection)


def runner_connections(workspace: object, runner_id: str) -> str:
    """Connections that serve a runner, scored by last heartbeat; 30 s, renewed."""
    return _key("runner", workspace, runner_id)


def claim_check(name: object) -> str:
    """A frame over 256 KiB; 10 min, deleted when applied."""
    return _key("frame", name)


def reader_wake(reader: object) -> str:
    """Wakes a blocked stream reader; 10 min, renewed by use."""
    return _key("wake", reader)


def rate_limit(name: str) -> str:
    """When a token bucket will be full again; lives until then."""
    return _key("rate", name)
