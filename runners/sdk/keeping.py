"""Host calls that keep things for later runs: state and storage."""

import base64
from typing import Any, Literal

from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode
from runners.protocol.results import StateScope
from runners.sdk.calls import Calls, HostCallError, required

StoragePlace = Literal["plugin", "workspace"]


class KeepingCalls(Calls):
    """State is JSON of at most 256 KiB by scope; storage is bytes of at most 10 MiB."""

    __slots__ = ()

    async def state_get(self, key: str, scope: StateScope = "conversation") -> Any:
        """Return the value, or None when there is none."""
        data = await self.call(Action.STATE_GET, {"scope": scope, "key": key})
        return data.get("value")

    async def state_set(
        self, key: str, value: Any, scope: StateScope = "conversation"
    ) -> None:
        request = {"scope": scope, "key": key, "value": value}
        await self.call(Action.STATE_SET, request)

    async def state_delete(self, key: str, scope: StateScope = "conversation") -> bool:
        """Return whether there was something to delete."""
        data = await self.call(Action.STATE_DELETE, {"scope": scope, "key": key})
        return data.get("success") is True

    async def state_list(
        self,
        scope: StateScope = "conversation",
        *,
        prefix: str | None = None,
        limit: int = 100,
    ) -> tuple[list[str], bool]:
        """Return the keys, and whether there are more."""
        request = {"scope": scope, "prefix": prefix, "limit": limit}
        data = await self.call(Action.STATE_LIST, request)
        keys = required(data, "keys", Action.STATE_LIST)
        return [str(key) for key in keys], data.get("has_more") is True

    async def storage_set(
        self, key: str, value: bytes, place: StoragePlace = "plugin"
    ) -> None:
        """Keep bytes for this plugin or for the whole workspace."""
        encoded = base64.b64encode(value).decode()
        request = {"key": key, "value_base64": encoded}
        await self.call(f"set_{place}_storage", request)

    async def storage_get(self, key: str, place: StoragePlace = "plugin") -> bytes:
        """Return the bytes; `not_found` where there are none."""
        action = f"get_{place}_storage"
        data = await self.call(action, {"key": key})
        try:
            return base64.b64decode(required(data, "value_base64", action))
        except (TypeError, ValueError):
            message = f"the answer to {action} is malformed"
            raise HostCallError(ErrorCode.HOST_MALFORMED_RESPONSE, message) from None

    async def storage_delete(self, key: str, place: StoragePlace = "plugin") -> None:
        """Remove a value; `not_found` where there is none."""
        await self.call(f"delete_{place}_storage", {"key": key})

    async def storage_keys(self, place: StoragePlace = "plugin") -> list[str]:
        """Return all keys, in order."""
        action = f"get_{place}_storage_keys"
        keys = required(await self.call(action), "keys", action)
        return [str(key) for key in keys]
