"""The context of one run as a host sends it, see wire.md §5.2."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

# Everything the tests' runners may ask for; the rest is left to its default, false.
_AVAILABLE_APIS = ("prompt_get", "history_page", "state", "run_get")


def runner_context(
    text: str,
    *,
    config: Mapping[str, Any] | None = None,
    run_id: str | None = None,
    conversation: str = "conversation-1",
    deadline_seconds: float = 300.0,
) -> dict[str, Any]:
    """Build a message run; the deadline counts from now."""
    run_id = run_id or str(uuid.uuid4())
    now = time.time()
    event_type = "message.received"
    return {
        "run_id": run_id,
        "trigger": {"type": event_type, "source": "api", "timestamp": int(now)},
        "event": {
            "event_id": f"event-{run_id}",
            "event_type": event_type,
            "event_time": int(now),
            "source": "api",
            "data": {},
        },
        "conversation": {"conversation_id": conversation, "session_id": conversation},
        "actor": {"actor_type": "user", "actor_id": "user-1", "actor_name": "Ann"},
        "input": {"text": text, "contents": [{"type": "text", "text": text}]},
        "delivery": {"surface": "api", "supports_streaming": True},
        "resources": {"models": [], "tools": [], "knowledge_bases": [], "skills": []},
        "context": {
            "conversation_id": conversation,
            "available_apis": dict.fromkeys(_AVAILABLE_APIS, True),
        },
        "state": {"conversation": {}, "actor": {}, "subject": {}, "runner": {}},
        "runtime": {
            "langbot_version": "0.1.0",
            "trace_id": f"trace-{run_id}",
            "deadline_at": now + deadline_seconds,
            "metadata": {"streaming_supported": True},
        },
        "config": dict(config or {}),
    }
