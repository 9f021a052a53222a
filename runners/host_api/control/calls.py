"""How calls of the control plane are answered: with the right, in one service call."""

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Annotated, Any, TypeVar
from weakref import WeakKeyDictionary

from pydantic import AfterValidator, Field
from pydantic_core import to_json

from runners.host_api.calls import (
    CallData,
    ConnectionCall,
    ConnectionHandler,
    finite,
)
from runners.runtimes.callers import Caller, caller_of

Data = TypeVar("Data", bound=CallData)
Service = Callable[[Caller, Data], dict[str, Any]]

LAST_SECOND = 253_402_300_799  # of the year 9999
_DOCUMENT_BYTES = 16 * 1024
_turns: WeakKeyDictionary[AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(to_json(value)) > _DOCUMENT_BYTES:
        message = f"at most {_DOCUMENT_BYTES} bytes of JSON"
        raise ValueError(message)
    return finite(value)


Document = Annotated[dict[str, Any], AfterValidator(_small)]
Seconds = Annotated[int, Field(ge=0, le=LAST_SECOND)]
Lease = Annotated[int, Field(ge=1, le=3600)]


class NoData(CallData):
    pass


def control(model: type[Data], service: Service[Data]) -> ConnectionHandler:
    """Return a handler that checks the caller's right first, then its data."""

    async def handle(call: ConnectionCall) -> dict[str, Any]:
        return await call.database(_serve, call, model, service)

    return handle


def in_turn(handler: ConnectionHandler) -> ConnectionHandler:
    """Let a costly handler wait for all others of its kind on this web node.

    They take one of the calls' threads at most, so that heartbeats and renewals of
    leases always find one.
    """

    async def handle(call: ConnectionCall) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        turn = _turns.setdefault(loop, asyncio.Lock())
        async with turn:
            return await handler(call)

    return handle


def _serve(
    call: ConnectionCall, model: type[Data], service: Service[Data]
) -> dict[str, Any]:
    connection = call.connection
    caller = caller_of(connection.connection_id, connection.plugin)
    return service(caller, call.read(model))
