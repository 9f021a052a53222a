"""Tools and knowledge that the probe asks for, registered through the host's ports."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from django.apps import AppConfig

from agents.resources.knowledge import (
    KnowledgeBaseInfo,
    KnowledgeHit,
    KnowledgeQuery,
    knowledge_engines,
)
from agents.resources.tools import (
    Tool,
    ToolCall,
    ToolError,
    ToolProvider,
    tool_providers,
)
from runners.platform_actions import PlatformAction, register_platform_actions
from runners.protocol.errors import ErrorCode, ProtocolError

BASE = "probe-knowledge"
BOT = "01900000-0000-7000-8000-000000000001"
TOOLS = ("probe_echo", "probe_broken")
_PASSAGES = ("Grass is green.", "The sky is blue.")


class ProbeTools(ToolProvider):
    key = "probe"

    def find(self, workspace_id: int, names: Collection[str]) -> list[Tool]:
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        known = [name for name in TOOLS if name in names]
        return [Tool(name=name, description=name, parameters=schema) for name in known]

    async def call(self, call: ToolCall) -> Mapping[str, Any]:
        if call.name == "probe_broken":
            message = "it breaks"
            raise ToolError(message, code="probe.broken")
        return {"echo": call.parameters["text"]}


class ProbeKnowledge:
    key = "probe"

    def find(self, workspace_id: int, ids: Collection[str]) -> list[KnowledgeBaseInfo]:
        return [KnowledgeBaseInfo(id=BASE, name="Probe")] if BASE in ids else []

    async def retrieve(self, query: KnowledgeQuery) -> list[KnowledgeHit]:
        words = set(query.text.lower().split())
        hits = [_hit(text, words) for text in _PASSAGES]
        hits.sort(key=lambda hit: -(hit["score"] or 0))
        return hits[: query.top_k]


def _hit(text: str, words: set[str]) -> KnowledgeHit:
    shared = words & set(text.lower().strip(".").split())
    return {
        "id": text,
        "content": [{"type": "text", "text": text}],
        "metadata": {"from": "probe"},
        "distance": None,
        "score": len(shared) / len(words),
    }


class ProbePlatform:
    def can_edit(self, bot_id: UUID) -> bool:
        return False

    def workspace_bot(self, workspace_id: int, bot_id: str) -> UUID | None:
        return UUID(BOT) if bot_id == BOT else None

    def prepare(self, bot_id: UUID, action: str) -> PlatformAction:
        if action != "get_user":
            message = f"this platform has no {action}"
            raise ProtocolError(ErrorCode.NOT_AVAILABLE, message)
        return lambda params: {"id": params["id"], "name": "Ada"}


class ProbeProviders(AppConfig):
    name = "tests.contract.probe"
    label = "probe"

    def ready(self) -> None:
        tool_providers.register(ProbeTools())
        knowledge_engines.register(ProbeKnowledge())
        register_platform_actions(ProbePlatform())


APP = f"{__name__}.{ProbeProviders.__name__}"
