"""What an agent may use and how it answers; a binding may only narrow it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

StateScope = Literal["conversation", "actor", "subject", "runner"]


class ResourcePolicy(BaseModel):
    """Extra grants beyond the runner config (LB-10). None in `skills` means all."""

    model_config = ConfigDict(extra="forbid")

    models: list[str] = []
    tools: list[str] = []
    knowledge_bases: list[str] = []
    skills: list[str] | None = None
    plugin_storage: bool = True
    workspace_storage: bool = False
    artifacts: bool = True

    def narrowed(self, other: "ResourcePolicy") -> "ResourcePolicy":
        """Return what both allow."""
        return ResourcePolicy(
            models=_both(self.models, other.models),
            tools=_both(self.tools, other.tools),
            knowledge_bases=_both(self.knowledge_bases, other.knowledge_bases),
            skills=_both_or_all(self.skills, other.skills),
            plugin_storage=self.plugin_storage and other.plugin_storage,
            workspace_storage=self.workspace_storage and other.workspace_storage,
            artifacts=self.artifacts and other.artifacts,
        )


class StatePolicy(BaseModel):
    """Which state scopes the runner may read and write (LB-11)."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = True
    scopes: list[StateScope] = ["conversation", "actor"]

    def narrowed(self, other: "StatePolicy") -> "StatePolicy":
        """Return what both allow."""
        return StatePolicy(
            enabled=self.enabled and other.enabled,
            scopes=[scope for scope in self.scopes if scope in other.scopes],
        )


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


def _both(mine: list[str], theirs: list[str]) -> list[str]:
    return [name for name in mine if name in theirs]


def _both_or_all(mine: list[str] | None, theirs: list[str] | None) -> list[str] | None:
    if mine is None or theirs is None:
        return theirs if mine is None else mine
    return _both(mine, theirs)
