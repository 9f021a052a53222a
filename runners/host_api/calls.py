"""What a host call sees, and how its data is read."""

from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from langbot.lib.db import DatabaseExecutor
from runners.engine.snapshot import RunFacts
from runners.ledger.journal import CallKey
from runners.protocol.errors import ErrorCode, ProtocolError

Data = TypeVar("Data", bound="CallData")


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
