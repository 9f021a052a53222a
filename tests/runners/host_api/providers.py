"""A tool provider and a knowledge engine for tests, and how they are installed."""

import asyncio

from agents.resources.knowledge import KnowledgeBaseInfo, knowledge_engines
from agents.resources.tools import Tool, ToolError, tool_providers
from runners.protocol.errors import ProtocolError

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
TOOLS = {
    "shout": Tool(name="shout", type="mcp", description="Shouts", parameters=SCHEMA),
    "large": Tool(name="large", parameters={"description": "x" * 20_000}),
    "broken": Tool(name="broken"),
    "doubtful": Tool(name="doubtful"),
    "slow": Tool(name="slow"),
    "guide": Tool(name="guide"),
    "guided": Tool(name="guided", requires_tool="guide"),
    "huge": Tool(name="huge"),
}


class Tools:
    """Counts what it executes and what it is asked for."""

    key = "tests"

    def __init__(self):
        self.calls, self.asked = [], []

    def find(self, workspace_id, names):
        self.asked.append(list(names))
        return [TOOLS[name] for name in names if name in TOOLS]

    async def call(self, call):
        self.calls.append(call)
        if call.name == "broken":
            raise ToolError("it exploded", retryable=True, details={"tool": "broken"})
        if call.name == "doubtful":
            raise ProtocolError("outcome_unknown", "the connection broke")
        if call.name == "slow":
            await asyncio.Event().wait()
        if call.name == "huge":
            return {"text": "y" * 1_100_000}
        return {"said": str(call.parameters.get("text", "")).upper()}


class Knowledge:
    key = "tests"

    def __init__(self):
        self.queries = []

    def find(self, workspace_id, ids):
        known = {"kb-1": "Handbook", "kb-2": "Prices"}
        return [KnowledgeBaseInfo(id=i, name=known[i]) for i in ids if i in known]

    async def retrieve(self, query):
        self.queries.append(query)
        return [
            {
                "id": str(number),
                "content": [{"type": "text", "text": f"{query.text} {number}"}],
                "metadata": {},
                "distance": None,
                "score": 1.0 - number / 10,
            }
            for number in range(query.top_k + 3)
        ]


def install(monkeypatch, tools=None, knowledge=None):
    """Register providers for one test."""
    for port, provider in ((tool_providers, tools), (knowledge_engines, knowledge)):
        providers = {provider.key: provider} if provider is not None else {}
        monkeypatch.setattr(port, "_providers", providers)
