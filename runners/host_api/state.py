"""state_get, state_set, state_delete, state_list (`wire.md` §6, LB-77)."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from langbot.lib.conf import limits
from runners.host_api.calls import CallData, HostCall
from runners.ledger.journal import once
from runners.ledger.state_store import (
    StateRefusedError,
    StateWrite,
    delete_state,
    list_keys,
    read_state,
    stored_key,
    write_state,
)
from runners.protocol.errors import ErrorCode, ProtocolError


class Scoped(CallData):
    scope: str


class Keyed(Scoped):
    key: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(stored_key)]


class Valued(Keyed):
    value: Any = None


class Listing(Scoped):
    prefix: str | None = None
    limit: int = Field(default=100, ge=1)


async def state_get(call: HostCall) -> dict[str, Any]:
    """Return `{"value": any | null}`."""
    data = call.read(Keyed)
    scope_key = call.facts.scope_keys[data.scope]
    return {"value": await call.database(read_state, scope_key, data.key)}


async def state_set(call: HostCall) -> dict[str, Any]:
    """Write one value of at most 256 KiB, once."""
    data = call.read(Valued)
    facts = call.facts
    scope_key = facts.scope_keys[data.scope]
    write = StateWrite(
        facts.workspace_id,
        facts.runner_id,
        data.scope,
        scope_key,
        data.key,
        data.value,
    )

    def effect() -> dict[str, Any]:
        write_state(write)
        return {"success": True}

    try:
        # In its order the ledger's writer takes rows, too.
        place = scope_key, data.key
        return await call.database.together(place, once, call.key, effect)
    except StateRefusedError as error:
        raise ProtocolError(ErrorCode.TOO_LARGE, str(error)) from None


async def state_delete(call: HostCall) -> dict[str, Any]:
    """Return whether there was a value."""
    data = call.read(Keyed)
    scope_key = call.facts.scope_keys[data.scope]

    def effect() -> dict[str, Any]:
        return {"success": delete_state(scope_key, data.key)}

    return await call.database(once, call.key, effect)


async def state_list(call: HostCall) -> dict[str, Any]:
    """Return up to 100 keys in order."""
    data = call.read(Listing)
    scope_key = call.facts.scope_keys[data.scope]
    limit = min(data.limit, limits().history_page)
    keys, has_more = await call.database(list_keys, scope_key, data.prefix or "", limit)
    return {"keys": keys, "has_more": has_more}
