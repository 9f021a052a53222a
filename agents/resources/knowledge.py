"""The port to knowledge bases: whoever has some registers a KnowledgeEngine.

As with tools, which engine answers for a knowledge base is frozen with the run.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from agents.resources.ports import Port

KNOWLEDGE_OPERATIONS = ("list", "retrieve")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeBaseInfo:
    """A knowledge base as runs see it; `id` is its public id."""

    id: str
    name: str = ""
    type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeQuery:
    """What is asked of one knowledge base; `filters` are the engine's to read."""

    base_id: str
    text: str
    workspace_id: int
    top_k: int = 5
    filters: Mapping[str, Any] = field(default_factory=dict)


class KnowledgeHit(TypedDict):
    """A passage, as the wire has it; `distance` and `score` are null where unknown."""

    id: str
    content: list[dict[str, Any]]
    metadata: dict[str, Any]
    distance: float | None
    score: float | None


class KnowledgeEngine(Protocol):
    """Where passages come from."""

    key: str

    def find(self, workspace_id: int, ids: Collection[str]) -> list[KnowledgeBaseInfo]:
        """Return those of the bases that may be asked; one query at most."""

    async def retrieve(self, query: KnowledgeQuery) -> list[KnowledgeHit]:
        """Return at most `top_k` passages, best first; raises ProtocolError.

        Runs in the event loop, and is cancelled when its time is up.
        """


knowledge_engines: Port[KnowledgeEngine] = Port("knowledge engine")


def find_bases(
    workspace_id: int, ids: Collection[str]
) -> list[tuple[KnowledgeEngine, KnowledgeBaseInfo]]:
    """Return usable bases in the order of `ids`."""
    found: dict[str, tuple[KnowledgeEngine, KnowledgeBaseInfo]] = {}
    for engine in knowledge_engines.all():
        missing = [one for one in ids if one not in found]
        for base in engine.find(workspace_id, missing) if missing else ():
            found.setdefault(base.id, (engine, base))
    return [found[one] for one in dict.fromkeys(ids) if one in found]
