"""What a run is frozen with, and the context that its runner is told."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import CharField

from agents.choices import ModelKind
from agents.models import RunnerDescriptor
from agents.policies import APPROVALS, frozen_policy
from agents.registry.config_schema import with_defaults
from agents.services import reveal_config
from artifacts.inputs import restore_input
from langbot import __version__
from langbot.lib.conf import conf, limits
from langbot.lib.prepared import PreparedLookup, PreparedQuery
from runners.access import Access, compute_access, delivery_policy
from runners.engine.inheritance import (
    inherit_approvals,
    inherited,
    rights_of_parent,
)
from runners.engine.unknown_keys import add_unknown_keys
from runners.ledger.pausing import EARLIER, SECONDS_LEFT
from runners.ledger.positions import RunOutput
from runners.ledger.resuming import decisions_of
from runners.ledger.scopes import scope_keys
from runners.ledger.state_store import read_states
from runners.models import AgentRun
from runners.platform_actions import platform_actions
from runners.protocol.context import Resources, RunnerContext
from runners.protocol.errors import ErrorCode
from runners.spending import person_behind, person_of

RESUME = "resume"  # in a context's metadata: what people decided


@dataclass(slots=True)
class RunFacts:
    """What the engine keeps in memory of a run it carries."""

    pk: int
    public_id: UUID
    conversation_id: int
    conversation_public_id: str
    workspace_id: int
    runner_id: str
    event_type: str
    access: Access
    scope_keys: dict[str, str]
    snapshot: dict[str, Any]
    deadline_at: datetime | None = None
    resources: Resources = field(default_factory=Resources)
    bot_id: UUID | None = None
    dry_run: bool = False
    agent_pk: int = 0
    person: str = ""  # who began it, as budgets name people
    earlier_output: RunOutput | None = None  # before a pause that it goes on after


_whole_runs = PreparedLookup(
    lambda keys: (
        AgentRun.objects.select_related(
            "event", "agent", "conversation", "binding", "workspace"
        )
        .filter(pk__in=keys)
        .order_by()
    )
)
_descriptors = PreparedQuery(
    lambda runner_id: RunnerDescriptor.objects.filter(runner_id=runner_id).only(
        *("kind", "permissions", "capabilities", "config_schema"),
        *("enabled", "plugin_enabled", "archived_at"),
    ),
    CharField(),
)


class RunnerRefusedError(Exception):
    """The runner of a run was switched off or removed; `code` says which."""

    def __init__(self, runner_id: str, descriptor: RunnerDescriptor) -> None:
        is_gone = descriptor.archived_at is not None
        self.code = ErrorCode.RUNNER_NOT_FOUND if is_gone else ErrorCode.RUNNER_DISABLED
        reason = "was removed" if is_gone else "is switched off"
        super().__init__(f"the runner {runner_id} {reason}")


def load_runs(ids: list[int]) -> list[AgentRun]:
    """Load runs with everything that a claim or an adoption looks at."""
    return sorted(_whole_runs(ids), key=lambda run: run.pk)


def freeze(run: AgentRun) -> RunFacts:
    """Compute snapshot and access from the agent version current now.

    Raises RunnerRefusedError when the runner takes no new runs.
    """
    agent = run.agent
    descriptor = _descriptors.first(agent.runner_id)
    if descriptor is not None and not descriptor.is_usable:
        raise RunnerRefusedError(agent.runner_id, descriptor)
    access, resources = compute_access(
        agent, descriptor, run.binding, run.workspace_id, metadata=run.metadata
    )
    if run.depth:
        access, resources = inherited(access, resources, rights_of_parent(run))
    keys = scope_keys(run)
    access.state_scopes = [scope for scope in access.state_scopes if scope in keys]
    snapshot = {
        "agent": {
            "id": str(agent.public_id),
            "slug": agent.slug,
            "name": agent.name,
            "version": agent.version,
        },
        "runner_id": agent.runner_id,
        "kind": descriptor.kind if descriptor is not None else "",
        # its secrets stay sealed
        "runner_config": with_defaults(
            descriptor.config_schema if descriptor is not None else [],
            agent.runner_config,
        ),
        "access": access.model_dump(),
        "resources": resources.model_dump(),
        "scope_keys": keys,
        "delivery_policy": delivery_policy(agent, run.binding).model_dump(),
        "can_edit": _can_edit(run, access),
        "person": _person(run),
    }
    if (agent.approval_policy or {}).get("enabled"):
        snapshot[APPROVALS] = frozen_policy(agent.approval_policy)
    if run.depth:
        inherit_approvals(snapshot, run)
    return _facts(run, snapshot, access, resources)


def thaw(run: AgentRun) -> RunFacts:
    """Rebuild the facts of a run that was claimed before, from its snapshot."""
    snapshot = run.snapshot or {}
    access = Access.model_validate(snapshot.get("access") or {})
    resources = Resources.model_validate(snapshot.get("resources") or {})
    return _facts(run, snapshot, access, resources)


def _facts(
    run: AgentRun, snapshot: dict[str, Any], access: Access, resources: Resources
) -> RunFacts:
    return RunFacts(
        pk=run.pk,
        public_id=run.public_id,
        conversation_id=run.conversation_id,
        conversation_public_id=str(run.conversation.public_id),
        workspace_id=run.workspace_id,
        runner_id=snapshot.get("runner_id", run.runner_id),
        event_type=run.event.type,
        access=access,
        scope_keys=snapshot.get("scope_keys") or {},
        snapshot=snapshot,
        deadline_at=run.deadline_at or run_deadline(snapshot),
        resources=resources,
        bot_id=run.bot_id,
        dry_run=run.dry_run,
        agent_pk=run.agent_id,
        person=snapshot.get("person") or person_of(run.bot_id, run.event.actor),
    )


def _person(run: AgentRun) -> str:
    """Return whose budget the run counts to; for a sub-run that of the run above."""
    if run.parent_id is not None:
        person = person_behind(run.parent_id)
        if person:
            return person
    return person_of(run.bot_id, run.event.actor)


def _can_edit(run: AgentRun, access: Access) -> bool:
    """Whether a reply may grow before the eyes of the people who wait for it."""
    actions = platform_actions()
    if run.bot_id is None or actions is None or not access.apis.get("reply_stream"):
        return False
    return actions.can_edit(run.bot_id)


def run_deadline(snapshot: dict[str, Any]) -> datetime:
    """Return now + the config's `timeout`; 300 s by default, at most 3,600 s (LB-34).

    A plugin keeps a run going after its socket dropped, so there always is one.
    """
    bounds = limits()
    if SECONDS_LEFT in snapshot:  # when it was paused (C-44)
        return datetime.now(UTC) + timedelta(seconds=snapshot[SECONDS_LEFT])
    given = (snapshot.get("runner_config") or {}).get("timeout")
    seconds = float(bounds.run_seconds)
    if isinstance(given, int | float) and not isinstance(given, bool) and given > 0:
        seconds = min(float(given), float(bounds.run_seconds_maximum))
    return datetime.now(UTC) + timedelta(seconds=seconds)


def build_context(run: AgentRun, facts: RunFacts) -> dict[str, Any]:
    """Return the wire context (`wire.md` §5.2); only the current event, no history."""
    snapshot = facts.snapshot
    policy = snapshot["delivery_policy"]
    context = RunnerContext.model_validate(
        {
            "run_id": str(run.public_id),
            "trigger": {
                "type": run.event.type,
                "source": run.event.trigger_source,
                "timestamp": run.event.time.timestamp(),
            },
            **said_in(run),
            "delivery": _delivery(run, snapshot),
            "resources": facts.resources,
            "context": _handles(run, facts),
            "state": read_states(facts.scope_keys, facts.access.state_scopes),
            "runtime": _runtime(run, facts, policy),
            "config": reveal_config(snapshot["runner_config"]),
            "adapter": run.event.delivery.get("adapter") or {"extra": {"params": {}}},
            "metadata": _metadata(run, snapshot),
        }
    )
    return add_unknown_keys(run, context.dump())


def _metadata(run: AgentRun, snapshot: dict[str, Any]) -> dict[str, Any]:
    """Return what the sender wrote, and after a pause what people decided (LO-14).

    What was decided is the host's word alone: a sender's `resume` is left out.
    """
    given = run.metadata if isinstance(run.metadata, dict) else {}
    said = {name: value for name, value in given.items() if name != RESUME}
    return {**said, RESUME: decisions_of(run)} if EARLIER in snapshot else said


def said_in(run: AgentRun) -> dict[str, Any]:
    """Return what happened, where, by whom, and what was said with it."""
    return {
        "event": _event(run),
        "conversation": _conversation(run),
        "actor": _actor(run),
        "subject": _subject(run),
        "input": _input(run),
    }


def _event(run: AgentRun) -> dict[str, Any]:
    event = run.event
    return {
        "event_id": event.event_id,
        "event_type": event.type,
        "event_time": int(event.time.timestamp()),  # SDKs refuse fractions
        "source": event.trigger_source,
        "source_event_type": event.source_event_type or None,
        "raw_ref": event.raw_ref,
        "data": {"type": event.type, **event.data},
    }


def _conversation(run: AgentRun) -> dict[str, Any]:
    conversation, sender = run.conversation, str(run.event.actor.get("id") or "")
    return {
        "conversation_id": str(conversation.public_id),
        "thread_id": run.event.thread or None,
        "launcher_type": run.event.data.get("launcher_type") or "person",
        "launcher_id": conversation.external_id or sender or None,
        "sender_id": sender or None,
        "bot_id": str(run.bot_id) if run.bot_id else None,
        "workspace_id": str(run.workspace.public_id),
        "session_id": str(conversation.public_id),
    }


def _actor(run: AgentRun) -> dict[str, Any] | None:
    actor = run.event.actor
    if not actor.get("id"):
        return None
    return {
        "actor_type": actor.get("type") or "user",
        "actor_id": str(actor["id"]),
        "actor_name": actor.get("name"),
    }


def _subject(run: AgentRun) -> dict[str, Any] | None:
    subject = run.event.subject
    if not subject:
        return None
    return {
        "subject_type": str(subject.get("type") or "unknown"),
        "subject_id": str(subject["id"]) if subject.get("id") else None,
        "data": subject.get("data") or {},
    }


def _input(run: AgentRun) -> dict[str, Any]:
    given = restore_input(run.event.input)
    if given.get("text") and not given["contents"]:
        given["contents"] = [{"type": "text", "text": given["text"]}]
    return given


def _delivery(run: AgentRun, snapshot: dict[str, Any]) -> dict[str, Any]:
    given, policy = run.event.delivery, snapshot["delivery_policy"]
    return {
        "surface": given.get("surface") or ("platform" if run.bot_id else "api"),
        "automatic_reply": bool(policy["reply"]),
        "reply_target": given.get("reply_target") or {},
        "supports_streaming": bool(policy["streaming"]),
        "supports_edit": bool(snapshot.get("can_edit")),
        "max_message_size": policy["maximum_message_size"],
    }


def _handles(run: AgentRun, facts: RunFacts) -> dict[str, Any]:
    seq = run.conversation.transcript_seq
    return {
        "conversation_id": str(run.conversation.public_id),
        "thread_id": run.event.thread or None,
        "latest_cursor": str(seq) if seq else None,
        "event_seq": run.event_id,
        "transcript_seq": seq,
        "has_history_before": seq - run.conversation.context_seq > 1,
        "inline_policy": {
            "mode": "current_event",
            "delivered_count": 0,
            "reason": "current_event_only",
        },
        "available_apis": facts.access.apis,
    }


def _runtime(run: AgentRun, facts: RunFacts, policy: dict[str, Any]) -> dict[str, Any]:
    deadline = facts.deadline_at
    if deadline is not None and APPROVALS in facts.snapshot:
        # The host's clock stands still while a call waits for a person.
        deadline += timedelta(seconds=limits().plugin_extra_seconds)
    metadata = {
        "streaming_supported": bool(policy["streaming"]),
        "bot_id": str(run.bot_id or ""),
        "workspace_id": str(run.workspace.public_id),
        "public_url": conf().public_url,
        **_context_window(facts),
    }
    return {
        "langbot_version": __version__,
        "trace_id": str(run.public_id),
        "deadline_at": deadline.timestamp() if deadline else None,
        "metadata": metadata,
    }


def _context_window(facts: RunFacts) -> dict[str, int]:
    """Return how much the run's first language model takes, where that is known.

    The first is the first that the runner's settings choose, and that the run may use,
    else that of the agent's policy (LB-38, LB-44). Calls to other models are not told
    of: a runner that falls back to a smaller one has to notice.
    """
    chosen = (m for m in facts.resources.models if m.model_type == ModelKind.LLM)
    first = next(chosen, None)
    window = facts.access.windows.get(first.model_id) if first is not None else None
    return {"model_context_window_tokens": window} if window else {}
