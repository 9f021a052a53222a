"""Calls for sandboxes: typed refusals, as this host has none."""

from typing import Any

from runners.host_api.calls import HostCall
from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode, ProtocolError

ACTIONS = (
    Action.GET_BOX_STATUS,
    Action.LIST_BOXES,
    Action.ACQUIRE_BOX,
    Action.BIND_BOX,
    Action.IMPORT_BOX_ATTACHMENTS,
    Action.EXPORT_BOX_FILES,
)


async def no_box(_call: HostCall) -> dict[str, Any]:
    """Refuse; `available_apis.box` says so before."""
    message = "this host has no sandbox"
    raise ProtocolError(ErrorCode.NOT_AVAILABLE, message)
