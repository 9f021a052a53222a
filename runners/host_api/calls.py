"""What a host call sees, and how its data is read."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from langbot.lib.db import DatabaseExecutor
from runners.engine.snapshot import RunFacts
from runners.ledger import journal
from runners.ledger.journal import CallKey
from runners.protocol.errors import ErrorCode, ProtocolError

Data = TypeVar("Data", bound="CallData")


async def journalled(
    call: "HostCall", effect: Callable[[], Awaitable[dict[str, Any]]]
) -> dict[str, Any]:
    """Return the answer of an effect outside our database, which happens once.

    A repeat of the call gets the stored answer or error, or `outcome_unknown` where
    the first try did not live to keep one. `effect` raises ProtocolError for what
    certainly did not happen, with code `outcome_unknown` where it does not know.
    """
    stored = await call.database(journal.before, call.key)
    if stored is not None:
        return stored
    try:
        answer = await effect()
    except ProtocolError as error:
        if error.code != ErrorCode.OUTCOME_UNKNOWN:
            await call.database(journal.failed, call.key, error)
        raise
    await call.database(journal.after, call.key, answer)
    return answer


class CallData(BaseModel):
    """Base of request data; unknown keys are ignored, as `run_id` is read before."""

    model_config = ConfigDict(extra="ignore")


@dataclass(frozen=True, slots=True)
class HostCall:
    """One call of a run's plugin, checked to come from that run's socket."""

    facts: RunFacts
    data: dict[str, Any]
    database: DatabaseExecutor
    key: CallKey

    def read(self, model: type[Data]) -> Data:
        """Return the validated data; raises invalid_request naming the field."""
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            issue = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, issue["loc"]))
            message = f"{where}: {issue['msg']}"
            raise ProtocolError(ErrorCode.INVALID_REQUEST, message) from None
