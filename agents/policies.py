"""What an agent may use and how it answers; a binding may only narrow it."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

StateScope = Literal["conversation", "actor", "subject", "runner"]


class _Narrowable(BaseModel):
    model_config = ConfigDict(extra="forbid")

    def narrowed(self, other: Self) -> Self:
        """Return what both allow; a field that `other` was not given stays as it is."""
        both = {
            name: _both(getattr(self, name), getattr(other, name))
            for name in other.model_fields_set
        }
        return self.model_copy(update=both)


class ResourcePolicy(_Narrowable):
    """Extra grants beyond the runner config (LB-10). None in `skills` means all."""

    models: list[str] = []
    tools: list[str] = []
    knowledge_bases: list[str] = []
    skills: list[str] | None = None
    plugin_storage: bool = True
    workspace_storage: bool = False
    artifacts: bool = True


class StatePolicy(_Narrowable):
    """Which state scopes the runner may read and write (LB-11).

    After `expire_seconds` of silence a conversation begins anew (LB-103); 0: never.
    """

    enabled: bool = True
    scopes: list[StateScope] = ["conversation", "actor"]
    expire_seconds: int = Field(default=0, ge=0, le=2**31 - 1, strict=True)


class DeliveryPolicy(BaseModel):
    """How replies leave (LB-12). `ambiguous` decides on an unknown send outcome."""

    model_config = ConfigDict(extra="forbid")

    streaming: bool = True
    reply: bool = True
    maximum_message_size: int | None = Field(default=None, gt=0)
    ambiguous: Literal["uncertain", "at_least_once"] = "uncertain"


class ApprovalPolicy(BaseModel):
    """Which tools need a person first (LH-16, C-31)."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = False
    mode: Literal["default", "dontAsk", "bypass"] = "default"
    allow: list[str] = []
    deny: list[str] = []
    ask: list[str] = []


def expire_seconds(*policies: Mapping[str, Any] | None) -> int:
    """Return the shortest time of stored state policies; 0 where none has one."""
    given = [policy.get("expire_seconds") or 0 for policy in policies if policy]
    return min(filter(None, given), default=0)


def _both(mine: Any, theirs: Any) -> Any:
    """Return what two flags, times or lists of names allow; None allows all.

    Of two times the shorter one counts, and 0 is none.
    """
    if mine is None or theirs is None:
        return theirs if mine is None else mine
    if isinstance(mine, bool):
        return mine and theirs
    if isinstance(mine, int):
        return min(filter(None, (mine, theirs)), default=0)
    return [name for name in mine if name in theirs]
