"""From an authenticated request to the envelope that admission takes."""

from typing import Any

from rest_framework.request import Request

from agents.models import Agent
from langbot.core.access import actor_of, source_of
from langbot.core.idempotency import event_id_of
from langbot.core.models import Workspace
from langbot.lib.ids import uuid7
from runners.admission import MESSAGE, BotRef, Incoming
from runners.api_surface import DELIVERY, TRIGGER
from runners.models import Conversation

_INPUT = ("text", "attachments")


def message_from(
    request: Request,
    workspace: Workspace,
    content: dict[str, Any],
    *,
    agent: Agent | None = None,
    conversation: Conversation | None = None,
    bot: BotRef | None = None,
) -> Incoming:
    """Return the envelope of a message that the caller says.

    `content` has `text` and, all optional, `attachments`, `event_id`, `dry_run`,
    `metadata`, and `page`, which becomes the event's data.
    """
    given_id = content.get("event_id") or event_id_of(request)
    return Incoming(
        workspace=workspace,
        source=source_of(request),
        event_id=given_id or str(uuid7()),
        is_first=not given_id,
        type=MESSAGE,
        trigger_source=TRIGGER,
        agent=agent,
        bot=bot,
        conversation=conversation,
        external_conversation=conversation.external_id if conversation else "",
        thread=conversation.thread if conversation else "",
        actor=actor_of(request),
        input={name: content[name] for name in _INPUT if content.get(name)},
        data={"page": dict(content["page"])} if content.get("page") else {},
        delivery=dict(DELIVERY),
        metadata=content.get("metadata") or {},
        dry_run=bool(content.get("dry_run")),
    )


def event_from(
    request: Request, workspace: Workspace, content: dict[str, Any]
) -> Incoming:
    """Return the envelope of a validated event; `bot` is a row or missing."""
    given_id = content.get("event_id") or event_id_of(request)
    bot = content.get("bot")
    extra = {"time": content["time"]} if content.get("time") else {}
    return Incoming(
        workspace=workspace,
        source=source_of(request),
        event_id=given_id or str(uuid7()),
        is_first=not given_id,
        type=content["type"],
        trigger_source=TRIGGER,
        bot=BotRef(bot.public_id, bot.slug) if bot is not None else None,
        external_conversation=content.get("conversation", ""),
        thread=content.get("thread", ""),
        actor=content.get("actor") or actor_of(request),
        subject=content.get("subject"),
        input=content.get("input") or {},
        data=content.get("data") or {},
        delivery={
            **DELIVERY,
            **(content.get("delivery") or {}),
            "conversation": content.get("conversation", ""),  # for a replay
        },
        metadata=content.get("metadata") or {},
        **extra,
    )
