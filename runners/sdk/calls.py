"""What every group of host calls is made of: a call, its typed answer, its error."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from runners.protocol.errors import ErrorCode, ProtocolError

Reply = TypeVar("Reply", bound=BaseModel)


class HostCallError(ProtocolError):
    """A host call that was refused, failed, or got no answer in time."""


class Caller(Protocol):
    """The connection, as far as calls need it. Times are in seconds."""

    async def call(
        self, action: str, data: Mapping[str, Any], seconds: float
    ) -> dict[str, Any]: ...

    def stream(
        self, action: str, data: Mapping[str, Any], seconds: float
    ) -> AsyncGenerator[dict[str, Any]]: ...


class Calls:
    """The base of each group; `HostApi` puts the groups together."""

    __slots__ = ()
    run_id: str

    async def call(
        self, action: str, data: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Make any host call of this run and return its data."""
        raise NotImplementedError

    def stream(
        self, action: str, data: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[dict[str, Any]]:
        """Make any streaming host call of this run and yield the data of its parts."""
        raise NotImplementedError

    async def _ask(
        self, model: type[Reply], action: str, request: Mapping[str, Any] | None = None
    ) -> Reply:
        return parsed(model, await self.call(action, request), action)


def required(data: Mapping[str, Any], key: str, action: str) -> Any:
    """Return a member of an answer; raises HostCallError without it."""
    if data.get(key) is None:
        message = f"the answer to {action} has no {key}"
        raise HostCallError(ErrorCode.HOST_MALFORMED_RESPONSE, message)
    return data[key]


def result_of(data: Mapping[str, Any], action: str) -> Any:
    """Return the `result` of an answer, which may be null; HostCallError without."""
    if "result" not in data:
        message = f"the answer to {action} has no result"
        raise HostCallError(ErrorCode.HOST_MALFORMED_RESPONSE, message)
    return data["result"]


def parsed(model: type[Reply], data: Any, action: str) -> Reply:
    """Return an answer as its type; raises HostCallError for anything else."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise malformed(action, error) from error


def parsed_list(model: type[Reply], items: Any, action: str) -> list[Reply]:
    """Return a list of an answer, each item as its type; raises HostCallError."""
    if not isinstance(items, list):
        message = f"the answer to {action} has no list"
        raise HostCallError(ErrorCode.HOST_MALFORMED_RESPONSE, message)
    return [parsed(model, item, action) for item in items]


def checked(adapter: TypeAdapter[Any], value: Any, action: str) -> Any:
    """Return a plain value of an answer as its type; raises HostCallError."""
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise malformed(action, error) from error


def malformed(action: str, error: ValidationError) -> HostCallError:
    """Return the error of an answer that is not what the wire says."""
    message = f"the answer to {action} is malformed: {error.error_count()} errors"
    return HostCallError(ErrorCode.HOST_MALFORMED_RESPONSE, message)
