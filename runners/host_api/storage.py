"""Plugin and workspace storage (`wire.md` §6, LB-78)."""

import base64
import binascii
from typing import Any, Literal

from pydantic import Field

from agents.resources.storage import KEY_LENGTH, Shelf, StorageFullError
from runners.host_api.calls import CallData, HostCall
from runners.ledger.journal import once
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.manifest import parse_runner_id

Place = Literal["plugin", "workspace"]


class Keyed(CallData):
    key: str = Field(min_length=1, max_length=KEY_LENGTH)


class Valued(Keyed):
    value_base64: str


async def set_plugin_storage(call: HostCall) -> dict[str, Any]:
    """Keep a value for this plugin, once."""
    return await _set(call, "plugin")


async def get_plugin_storage(call: HostCall) -> dict[str, Any]:
    """Return `{"value_base64"}`; not_found without a value."""
    return await _get(call, "plugin")


async def delete_plugin_storage(call: HostCall) -> dict[str, Any]:
    """Remove a value; not_found when there is none."""
    return await _delete(call, "plugin")


async def get_plugin_storage_keys(call: HostCall) -> dict[str, Any]:
    """Return `{"keys"}`, in order."""
    return await _keys(call, "plugin")


async def set_workspace_storage(call: HostCall) -> dict[str, Any]:
    """Keep a value for all plugins of the workspace that may use its storage, once."""
    return await _set(call, "workspace")


async def get_workspace_storage(call: HostCall) -> dict[str, Any]:
    """Return `{"value_base64"}`; not_found without a value."""
    return await _get(call, "workspace")


async def delete_workspace_storage(call: HostCall) -> dict[str, Any]:
    """Remove a value; not_found when there is none."""
    return await _delete(call, "workspace")


async def get_workspace_storage_keys(call: HostCall) -> dict[str, Any]:
    """Return `{"keys"}`, in order."""
    return await _keys(call, "workspace")


async def _set(call: HostCall, place: Place) -> dict[str, Any]:
    shelf, data = _shelf(call, place), call.read(Valued)

    def effect() -> dict[str, Any]:
        shelf.write(data.key, _decoded(data.value_base64))
        return {}

    try:
        return await call.database(once, call.key, effect)
    except StorageFullError as error:
        raise ProtocolError(ErrorCode.TOO_LARGE, str(error)) from None


async def _get(call: HostCall, place: Place) -> dict[str, Any]:
    shelf, data = _shelf(call, place), call.read(Keyed)

    def read() -> str:
        value = shelf.read(data.key)
        if value is None:
            raise _missing(data.key)
        return base64.b64encode(value).decode()  # of up to 10 MiB: not on the loop

    return {"value_base64": await call.database(read)}


async def _delete(call: HostCall, place: Place) -> dict[str, Any]:
    shelf, data = _shelf(call, place), call.read(Keyed)

    def effect() -> dict[str, Any]:
        return {"removed": shelf.remove(data.key)}

    # The journal's answer, not this one's: a repeated frame finds nothing any more.
    answer = await call.database(once, call.key, effect)
    if not answer["removed"]:
        raise _missing(data.key)
    return {}


async def _keys(call: HostCall, place: Place) -> dict[str, Any]:
    return {"keys": await call.database(_shelf(call, place).keys)}


def _shelf(call: HostCall, place: Place) -> Shelf:
    """Return the values this run may reach: never those of another plugin."""
    runner = parse_runner_id(call.facts.runner_id)
    plugin = f"{runner.author}/{runner.plugin}" if place == "plugin" else ""
    return Shelf(call.facts.workspace_id, plugin)


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        message = "value_base64: it is not base64"
        raise ProtocolError(ErrorCode.INVALID_REQUEST, message) from None


def _missing(key: str) -> ProtocolError:
    return ProtocolError(ErrorCode.NOT_FOUND, f"there is no value {key[:100]}")
