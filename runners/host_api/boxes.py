"""Calls for sandboxes: typed refusals, as this host has none."""

from typing import Any

from runners.host_api.calls import HostCall
from runners.protocol.errors import ErrorCode, ProtocolError


async def no_box(_call: HostCall) -> dict[str, Any]:
    """Refuse; `available_apis.box` says so before."""
    message = "this host has no sandbox"
    raise ProtocolError(ErrorCode.NOT_AVAILABLE, message)
