"""What a host call sees, and how its data is read."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from django.db import DatabaseError, InterfaceError
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from agents.registry.connections import Registered
from langbot.lib.db import DatabaseExecutor
from langbot.lib.group_commit import WritingExecutor
from runners.engine.own_results import OwnResults
from runners.engine.snapshot import RunFacts
from runners.ledger import journal
from runners.ledger.fence import NewEvent
from runners.ledger.journal import CallKey
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.results import is_finite

if TYPE_CHECKING:
    from runners.host_api.run_handle import RunHandle

logger = logging.getLogger(__name__)

Data = TypeVar("Data", bound="CallData")
# After these nobody knows whether the effect happened; a repeat is told that.
_UNDECIDED = frozenset({ErrorCode.OUTCOME_UNKNOWN, ErrorCode.DEADLINE_EXCEEDED})


async def journalled(
    call: "HostCall",
    effect: Callable[[], Awaitable[dict[str, Any]]],
    *,
    goes_on: bool = False,
) -> dict[str, Any]:
    """Return the answer of an effect outside our database, which happens once.

    A repeat of the call gets the stored answer or error, or `outcome_unknown` where
    the first try did not live to keep one. Where the effect `goes_on`, it is done again
    then, since it finds by its key what it began. `effect` raises ProtocolError for
    what certainly did not happen, with code `outcome_unknown` or `deadline_exceeded`
    where it does not know; of what else it raises nobody knows either, so that it is
    `outcome_unknown`, never a failure that invites a second try.
    """
    if call.handle is None:
        return await _through_journal(call, effect, goes_on)
    async with call.handle.effect():
        return await _through_journal(call, effect, goes_on)


async def _through_journal(
    call: "HostCall",
    effect: Callable[[], Awaitable[dict[str, Any]]],
    goes_on: bool,  # noqa: FBT001  as its caller was told
) -> dict[str, Any]:
    stored = await call.database(journal.before, call.key, goes_on)
    if stored is not None:
        return stored
    try:
        answer = await effect()
    except ProtocolError as error:
        if error.code not in _UNDECIDED:
            await _keep(call, journal.failed, error)
        raise
    except Exception as error:
        logger.exception("the effect of %s failed", call.key.action)
        message = "the call failed, and nobody knows whether it had its effect"
        raise ProtocolError(ErrorCode.OUTCOME_UNKNOWN, message) from error
    await _keep(call, journal.after, answer)
    return answer


async def _keep(
    call: "HostCall", keep: Callable[[CallKey, Any], None], outcome: Any
) -> None:
    """Write down how an effect went; where that fails, a repeat learns nothing of it.

    The caller is told all the same: an error here would call for a second effect.
    """
    try:
        await call.database(keep, call.key, outcome)
    except (DatabaseError, InterfaceError, TypeError, ValueError) as error:
        logger.warning("the outcome of %s is not kept: %s", call.key.action, error)


def finite(value: dict[str, Any]) -> dict[str, Any]:
    """Return what JSON and every database can keep; raises ValueError: `1e999`."""
    if not is_finite(value):
        message = "a number is not finite"
        raise ValueError(message)
    return value


# Of a tool or a platform: it is kept, and handed on to others.
Parameters = Annotated[dict[str, Any], AfterValidator(finite)]


class CallData(BaseModel):
    """Base of request data; unknown keys are ignored, as `run_id` is read before."""

    model_config = ConfigDict(extra="ignore")


@dataclass(frozen=True, slots=True)
class HostCall:
    """One call of a run's plugin, checked to come from that run's socket."""

    facts: RunFacts
    data: dict[str, Any]
    database: WritingExecutor
    key: CallKey
    results: OwnResults | None = None  # of the run itself, where a worker carries it
    handle: "RunHandle | None" = None
    token: int = 0  # the claim under which the run is carried

    async def tell(self, event: NewEvent) -> None:
        """Add an event to the run's ledger, once however often the call comes."""
        if self.handle is not None:
            await self.handle.tell(event)

    async def files(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return references to files of the run; raises `not_found` for others."""
        if self.handle is None:
            message = "the run has no such file"
            raise ProtocolError(ErrorCode.NOT_FOUND, message)
        return await self.handle.files(names)

    def seconds_left(self) -> float:
        """Return how long the run may still take."""
        deadline = self.facts.deadline_at
        return deadline.timestamp() - time.time() if deadline is not None else inf

    def read(self, model: type[Data]) -> Data:
        """Return the validated data; raises invalid_request naming the field."""
        return read_data(self.data, model)


@dataclass(frozen=True, slots=True)
class ConnectionCall:
    """One call of a registered plugin that belongs to no run.

    The connection's row (`connection.connection_id`) and its token say who calls: the
    plugin, its workspace (`*` for all), and whether it has the control plane.
    """

    connection: Registered
    action: str
    data: dict[str, Any]
    database: DatabaseExecutor
    seq_id: int = 0  # the plugin's number of the request

    def read(self, model: type[Data]) -> Data:
        """Return the validated data; raises invalid_request naming the field."""
        return read_data(self.data, model)


ConnectionHandler = Callable[[ConnectionCall], Awaitable[dict[str, Any]]]


def read_data(data: dict[str, Any], model: type[Data]) -> Data:
    """Validate a call's data; raises invalid_request naming the field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        issue = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, issue["loc"]))
        message = f"{where}: {issue['msg']}"
        raise ProtocolError(ErrorCode.INVALID_REQUEST, message) from None
