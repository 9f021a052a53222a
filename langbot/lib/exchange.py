"""Many commands to Redis at once, without what a client does around each call.

A client's pipeline takes a connection from its pool, guards it for retries, measures
it and looks each answer's type up: about a third of a millisecond, which the streams of
runs would pay some hundred times a second. Here one connection is kept.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.exceptions import ResponseError

Command = tuple[Any, ...]
Commands = list[Command]


class Exchange:
    """One connection of a client's own kind; calls wait for each other.

    Raises what the client would (`langbot.lib.redis.FAILURES`), and TypeError for what
    is no text, bytes or number; the next call connects again.
    """

    def __init__(self, client: Redis) -> None:
        self._pool: Any = client.connection_pool
        self._connection: Any = None
        self._lock = asyncio.Lock()

    async def __call__(self, commands: Sequence[Command]) -> list[Any]:
        """Send the commands; return their answers as Redis gives them, in order.

        Raises the ResponseError of the first that is refused; the others are done.
        """
        answers = await self.try_each(commands)
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return answers

    async def try_each(self, commands: Sequence[Command]) -> list[Any]:
        """Like a call; the ResponseError of a refused command is its answer."""
        async with self._lock:
            connection = self._connection
            if connection is None:
                connection = self._connection = self._pool.make_connection()
            try:
                # Asyncio clients pack in Python, which takes seven times as long.
                packed = b"".join(map(pack_command, commands))
                await connection.send_packed_command(packed, check_health=False)
                return [await _answer(connection) for _ in commands]
            except BaseException:
                # Half an answer must not be taken for the next one's.
                self._connection = None
                await connection.disconnect(nowait=True)
                raise

    async def aclose(self) -> None:
        """Close the connection; a further call makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response(timeout=math.inf)
    except ResponseError as error:
        return error
