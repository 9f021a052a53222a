"""retrieve_knowledge_base (`wire.md` §6, LB-72)."""

from typing import Any

from pydantic import Field

from agents.resources.knowledge import KnowledgeQuery, knowledge_engines
from runners.host_api.calls import CallData, HostCall
from runners.host_api.sizes import as_many_as_fit
from runners.host_api.timing import allowed_seconds, within
from runners.protocol.actions import Action, call_seconds
from runners.protocol.errors import ErrorCode, ProtocolError

TOP_K = 5  # LB-72
_TOP_K_AT_MOST = 100
_QUERY_CHARACTERS = 32_000


class Retrieval(CallData):
    kb_id: str
    query_text: str = Field(max_length=_QUERY_CHARACTERS)
    top_k: int = Field(default=TOP_K, ge=1, le=_TOP_K_AT_MOST)
    filters: dict[str, Any] | None = None


async def retrieve_knowledge_base(call: HostCall) -> dict[str, Any]:
    """Return `{"results": [{id, content, metadata, distance, score}]}`.

    The best ones come first; those beyond 1 MiB of JSON in all are left out.
    """
    data = call.read(Retrieval)
    sources = call.facts.access.sources.get("knowledge_bases", {})
    engine = knowledge_engines.get(sources.get(data.kb_id, ""))
    if engine is None:
        message = "there is no such knowledge base any more"
        raise ProtocolError(ErrorCode.NOT_FOUND, message)
    query = KnowledgeQuery(
        base_id=data.kb_id,
        text=data.query_text,
        workspace_id=call.facts.workspace_id,
        top_k=data.top_k,
        filters=data.filters or {},
    )
    seconds = allowed_seconds(call, call_seconds(Action.RETRIEVE_KNOWLEDGE_BASE))
    results = await within(seconds, engine.retrieve(query))
    return {"results": as_many_as_fit(list(results)[: data.top_k])}
