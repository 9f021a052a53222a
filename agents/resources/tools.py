"""The port to tools: whoever has some registers a ToolProvider when Django starts.

A run sees the tools that its agent's policy names and that a provider knows in the
run's workspace. Which provider answers is frozen with the run's other rights.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from agents.resources.ports import Port
from runners.protocol.errors import ErrorCode, ProtocolError

INLINE_CHARACTERS = 16_384  # of a schema in a run's context; larger ones are asked
TOOL_OPERATIONS = ("detail", "call")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What models are told of a tool. `parameters` is a JSON schema of an object.

    With `requires_tool` it runs only after that other tool was called in the same
    conversation (AG-102).
    """

    name: str
    type: str = "function"
    description: str = ""
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {}}
    )
    requires_tool: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One execution, for one run.

    `key` is the same for a repeat of the same call, which the host never makes, but a
    tool may want to hand on. `seconds` is how long it may take.
    """

    name: str
    parameters: Mapping[str, Any]
    workspace_id: int
    run_id: UUID
    agent_id: str
    conversation_id: str
    key: str
    seconds: float
    is_dry_run: bool = False


class ToolError(ProtocolError):
    """A tool did its work and failed, or certainly did nothing; its answer is final.

    A provider that does not know raises code `outcome_unknown` instead.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = ErrorCode.RUNTIME_ERROR,
        retryable: bool = False,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code, message, retryable=retryable, details=details)


class ToolProvider(Protocol):
    """Where tools come from.

    Where `goes_on` is true, a call that comes again with its key, because a worker died
    that waited for it, is made again and has to go on with what the first one began.
    Otherwise it is answered `outcome_unknown`.
    """

    key: str
    goes_on: bool = False

    def find(self, workspace_id: int, names: Collection[str]) -> list[Tool]:
        """Return those of the named tools that may be used; reads the database.

        One query at most: it is asked when a run starts.
        """

    async def call(self, call: ToolCall) -> Mapping[str, Any]:
        """Execute a tool, once; returns a JSON object, raises ProtocolError.

        Runs in the event loop. It is cancelled when its time is up or its run ends.
        """


tool_providers: Port[ToolProvider] = Port("tool provider")


def find_tools(
    workspace_id: int, names: Collection[str]
) -> list[tuple[ToolProvider, Tool]]:
    """Return usable tools in the order of `names`; the first provider has each name."""
    found: dict[str, tuple[ToolProvider, Tool]] = {}
    for provider in tool_providers.all():
        missing = [name for name in names if name not in found]
        for tool in provider.find(workspace_id, missing) if missing else ():
            found.setdefault(tool.name, (provider, tool))
    return [found[name] for name in dict.fromkeys(names) if name in found]
