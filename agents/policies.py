"""What an agent may use and how it answers; a binding may only narrow it."""

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
    """Which state scopes the runner may read and write (LB-11)."""

    enabled: bool = True
    scopes: list[StateScope] = ["conversation", "actor"]


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


def _both(mine: Any, theirs: Any) -> Any:
    """Return what two flags or two lists of names allow; None allows all."""
    if mine is None or theirs is None:
        return theirs if mine is None else mine
    if isinstance(mine, bool):
        return mine and theirs
    return [name for name in mine if name in theirs]
