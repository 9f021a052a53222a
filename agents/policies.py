"""What an agent may use and how it answers; a binding may only narrow it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from glob import escape
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

CLIENT_TOOL_CHARACTERS = 16_000  # a schema travels with every run that has it
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


class ClientTool(BaseModel):
    """A tool that the client of a run executes; `parameters` is its JSON schema."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str = Field(default="", max_length=2000)
    parameters: dict[str, Any] = {"type": "object", "properties": {}}

    @field_validator("parameters")
    @classmethod
    def _is_small(cls, schema: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(schema)) > CLIENT_TOOL_CHARACTERS:
            most = {"max_length": CLIENT_TOOL_CHARACTERS}
            message = "at most {max_length} characters of JSON"
            raise PydanticCustomError("json_too_long", message, most)
        return schema


class ResourcePolicy(_Narrowable):
    """Extra grants beyond the runner config (LB-10). None in `skills` means all.

    `agents` are slugs of the agents that it may ask by a tool. `client_tools` are had
    by runs whose sender says that it can execute them (`runners.client_tools`).
    """

    models: list[str] = []
    tools: list[str] = []
    agents: list[str] = []
    client_tools: list[ClientTool] = []
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
    """How replies leave (LB-12). `ambiguous` decides on an unknown send outcome.

    Without `show_reasoning` what an agent thinks is seen in the admin only.
    """

    model_config = ConfigDict(extra="forbid")

    streaming: bool = True
    reply: bool = True
    show_reasoning: bool = True
    maximum_message_size: int | None = Field(default=None, gt=0)
    ambiguous: Literal["uncertain", "at_least_once"] = "uncertain"


APPROVALS = "approval_policy"  # in the snapshot of a run whose tools need a person
Verdict = Literal["allow", "deny", "ask"]
REASON_CHARACTERS = 500


class ApprovalPolicy(BaseModel):
    """Which tools need a person first (LH-16, C-31).

    Lists hold case-sensitive globs of tool names, such as `mail_*`. `reason` is what
    people are told; `{tool}` and `{agent}` stand for their names.
    """

    model_config = ConfigDict(extra="forbid")

    enabled: bool = False
    mode: Literal["default", "dontAsk", "bypass"] = "default"
    allow: list[str] = []
    deny: list[str] = []
    ask: list[str] = []
    reason: str = Field(default="", max_length=REASON_CHARACTERS)

    def in_two_lists(self) -> list[str]:
        """Return the patterns of which an earlier list hides a later one (C-32)."""
        lists = [set(self.deny), set(self.allow), set(self.ask)]
        both = (lists[0] & lists[1]) | (lists[0] & lists[2]) | (lists[1] & lists[2])
        return sorted(both)


def frozen_policy(stored: Any) -> dict[str, Any]:
    """Return an enabled policy as a run keeps it; an unreadable one asks (C-32)."""
    try:
        return ApprovalPolicy.model_validate(stored).model_dump()
    except ValidationError:
        return ApprovalPolicy(enabled=True).model_dump()


def evaluate_tool(policy: Mapping[str, Any], tool_name: str) -> Verdict:
    """Say what an enabled policy makes of a tool (LH-16).

    In this order: deny, bypass, allow, ask, dontAsk, otherwise ask. What cannot be
    read asks.
    """
    mode = policy.get("mode")
    if _matches(policy.get("deny"), tool_name):
        return "deny"
    if mode == "bypass" or _matches(policy.get("allow"), tool_name):
        return "allow"
    if _matches(policy.get("ask"), tool_name):
        return "ask"
    return "deny" if mode == "dontAsk" else "ask"


def strictest(
    policies: Sequence[Mapping[str, Any]], tools: Iterable[str]
) -> dict[str, Any]:
    """Return one enabled policy that is as strict as all of these for each tool."""
    lists: dict[str, list[str]] = {"allow": [], "deny": [], "ask": []}
    for tool in tools:
        verdicts = {evaluate_tool(policy, tool) for policy in policies}
        order: tuple[Verdict, ...] = ("deny", "ask", "allow")
        verdict = next(one for one in order if one in verdicts)
        lists[verdict].append(escape(tool))
    reason = next(filter(None, (policy.get("reason") for policy in policies)), "")
    merged: dict[str, Any] = {
        "enabled": True,
        "mode": "default",
        "reason": reason,
        **lists,
    }
    return ApprovalPolicy.model_validate(merged).model_dump()


def _matches(patterns: Any, name: str) -> bool:
    given = patterns if isinstance(patterns, list) else []
    return any(fnmatchcase(name, str(pattern)) for pattern in given)


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
