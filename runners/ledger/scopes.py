"""Where a runner's state lives: hashed keys that no other run can name (LB-97)."""

import hashlib
import json
from typing import Any

from runners.ledger.runs import AgentRun

SCOPES = ("conversation", "actor", "subject", "runner")
_VERSION = 2


def scope_keys(run: AgentRun) -> dict[str, str]:
    """Return the key of every scope that this run has an identity for."""
    event, conversation = run.event, run.conversation
    base: dict[str, Any] = {
        "version": _VERSION,
        "runner": run.runner_id,
        "binding": str(run.binding.public_id) if run.binding else f"a:{run.agent_id}",
        "bot": str(run.bot_id or ""),
        "workspace": run.workspace_id,
    }
    subject = event.subject or {}
    identities: dict[str, dict[str, Any] | None] = {
        "conversation": {"conversation": conversation.pk, "thread": event.thread},
        "actor": _identity(event.actor, "user"),
        "subject": _identity(subject, "unknown"),
        "runner": {},
    }
    return {
        scope: identity_key(base, scope, identity)
        for scope, identity in identities.items()
        if identity is not None
    }


def identity_key(base: dict[str, Any], scope: str, identity: dict[str, Any]) -> str:
    """Return the key of one identity; `base` says whose runner, binding and bot."""
    whose = {"version": _VERSION, **base}
    return _hashed(scope, {**whose, "scope": scope, **identity})


def _identity(who: dict[str, Any], default_type: str) -> dict[str, Any] | None:
    if not who.get("id"):
        return None
    return {"type": who.get("type") or default_type, "id": str(who["id"])}


def _hashed(scope: str, content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"{scope}:v{_VERSION}:{hashlib.sha256(text.encode()).hexdigest()}"
