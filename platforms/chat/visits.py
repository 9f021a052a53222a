"""Visitors of the web chat: who they are, what they said, what they may see."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core import signing
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from agents.choices import SessionScope
from agents.models import Agent
from artifacts.models import Artifact
from artifacts.store import unexpired
from langbot.lib.ids import uuid7
from langbot.lib.markdown import markdown_html
from platforms import throttle
from platforms.adapters.base import PlatformEvent
from platforms.chat.files import read_address, shown_files
from platforms.intake import incoming, receive
from platforms.models import Bot
from runners.admission import conversation_key
from runners.answers import answer_for, find_message, full_text
from runners.branches import messages_after, regenerate
from runners.choices import (
    LIVE,
    THOUGHT,
    EventType,
    QueuedStatus,
    Role,
    RunStatus,
)
from runners.ledger.runs import AgentRunQuerySet
from runners.models import (
    AgentRun,
    Conversation,
    EventLog,
    QueuedMessage,
    TranscriptItem,
)
from runners.pending import cancel_message
from runners.services import request_cancel

MESSAGES_PER_MINUTE = 30
CALLS_PER_MINUTE = 3000  # of all visitors of one bot
HISTORY_ITEMS = 100
# What a visitor may see of a run. The rest (tools, logs, state, hidden reasoning)
# is for the people who operate the agent.
_SHOWN = frozenset(
    {
        EventType.RUN_QUEUED,
        EventType.RUN_STARTED,
        EventType.RUN_PAUSED,
        EventType.RUN_RESUMED,
        EventType.REASONING_DELTA,  # where the agent's policy shows it
        EventType.MESSAGE_DELTA,
        EventType.MESSAGE_COMPLETED,
        EventType.STEERING_INJECTED,  # the ids alone
        EventType.RUN_COMPLETED,
        EventType.RUN_FAILED,
    }
)
_PUBLIC_DATA = ("text", "block", "finish_reason", "code", "retryable")


class ChatError(Exception):
    """Something a visitor cannot do now; safe to show."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Visit:
    """One visitor of one bot."""

    bot: Bot
    visitor: UUID

    @property
    def place(self) -> str:
        """The conversation, and the person: both are the visitor's alone."""
        return f"visitor:{self.visitor}"

    def token(self) -> str:
        """Return the visitor's signed token; it holds no secret and never expires."""
        claims = {"bot": str(self.bot.public_id), "visitor": str(self.visitor)}
        return _signer().sign_object(claims)


@dataclass(frozen=True, slots=True)
class Turn:
    """A run of the visitor and the message it answers."""

    key: int
    run_id: UUID
    client_key: str


def _signer() -> signing.Signer:
    return signing.Signer(salt="langbot.chat.visitor")


def find_bot(slug: str) -> Bot | None:
    """Return an enabled web bot."""
    bots = Bot.objects.select_related("workspace").defer("secrets")
    return bots.filter(slug=slug, adapter="web", enabled=True).first()


def open_visit(slug: str, token: str = "") -> Visit:
    """Return the visit of a token, or a new visitor's; raises ChatError."""
    bot = find_bot(slug)
    if bot is None:
        raise ChatError("bot_disabled", "this chat is closed")
    if not token:
        return Visit(bot, uuid7())
    try:
        claims = _signer().unsign_object(token)
        if claims["bot"] == str(bot.public_id):
            return Visit(bot, UUID(claims["visitor"]))
    except (signing.BadSignature, KeyError, TypeError, ValueError):
        pass
    raise ChatError("invalid_token", "the token is not valid for this chat")


def say(visit: Visit, text: str, client_key: str) -> dict[str, Any]:
    """Admit a message once per key; returns the contract's answer shape.

    Raises ChatError or AdmissionError.
    """
    bot = find_bot(visit.bot.slug)
    if bot is None:
        raise ChatError("bot_disabled", "this chat is closed")
    if not text.strip():
        raise ChatError("invalid_frame", "text: is empty")
    check_rate(visit)
    event = PlatformEvent(
        event_id=_event_id(visit, client_key),
        conversation=visit.place,
        actor={"id": visit.place, "type": "user"},
        input={"text": text},
    )
    return answer_for(receive(bot, event))


def regenerate_reply(visit: Visit, message_id: UUID, *, confirmed: bool) -> int:
    """Answer one of the visitor's messages again; what came after it is replaced.

    Where later messages would go, nothing is done without a confirmation: returns how
    many they are, else 0. Raises ChatError or AdmissionError.
    """
    check_rate(visit)
    rows = _transcript(visit).select_related("conversation")
    found = rows.filter(public_id=message_id).first()
    if found is None:
        raise ChatError("not_found", "there is no such message")
    after = 0 if confirmed else messages_after(found)
    if not after:
        regenerate(found, visit.place)
    return after


def history(visit: Visit) -> dict[str, Any]:
    """Return what was said, what waits and which run is under way."""
    run = _live_run(visit)
    newest = _transcript(visit).order_by("-pk")[:HISTORY_ITEMS]
    return {
        "items": _items(visit, [*reversed(newest)]),
        "waiting": _waiting(visit),
        "running": str(run.public_id) if run else None,
    }


def position(visit: Visit) -> int:
    """Return the key of the last run that has ended, to be asked before `history`."""
    live = _live_run(visit)
    if live is not None:
        return live.pk - 1
    last = _runs(visit).order_by("-pk").values_list("pk", flat=True).first()
    return last or 0


def next_turn(visit: Visit, after: int) -> Turn | None:
    """Return the run after that one, be it under way or over already."""
    runs = _runs(visit).select_related("event").filter(pk__gt=after)
    run = runs.order_by("pk").first()
    if run is None:
        return None
    return Turn(run.pk, run.public_id, _client_key(visit, run.event))


def is_live(run_key: int) -> bool:
    """Whether the run has not ended."""
    return AgentRun.objects.live().filter(pk=run_key).exists()


def ended_turn(visit: Visit, turn: Turn) -> dict[str, Any]:
    """Return what an ended run left in the transcript, and what waits now."""
    rows = _transcript(visit).filter(run_id=turn.key).order_by("pk")
    items = _items(visit, [*rows])
    return {
        "run_id": str(turn.run_id),
        "items": items,
        "waiting": _waiting(visit),
        "forgotten": not items and _is_forgotten(turn),
    }


def file_of(slug: str, address: str) -> Artifact:
    """Return the file of an address that a visitor was given; raises ChatError.

    It is still one of the visitor's own conversations here.
    """
    named, bot = read_address(address), find_bot(slug)
    if named is not None and bot is not None and named.bot == bot.public_id:
        places = conversations(Visit(bot, named.visitor)).values("public_id")
        rows = unexpired().filter(workspace=bot.workspace_id, public_id=named.file)
        found = rows.filter(conversation_id_ref__in=places).first()
        if found is not None:
            return found
    raise ChatError("not_found", "there is no such file")


def withdraw(visit: Visit, message_id: UUID) -> dict[str, Any]:
    """Take back one of the visitor's own waiting messages; raises ChatError.

    `withdrawn` is false for one that is being answered by now.
    """
    message = find_message(message_id)
    mine = conversations(visit).values_list("pk", flat=True)
    is_mine = message is not None and message.event.actor.get("id") == visit.place
    if message is None or not is_mine or message.conversation_id not in mine:
        raise ChatError("not_found", "there is no such message")
    return {
        "message_id": str(message.public_id),
        "withdrawn": cancel_message(message),
        "waiting": _waiting(visit),
    }


def stop(visit: Visit) -> bool:
    """Cancel the visitor's own run, if one is under way."""
    run = _live_run(visit)
    return run is not None and request_cancel(run, _("stopped by the visitor"))


def shown_event(event: dict[str, Any]) -> dict[str, Any] | None:
    """Return a run's event as visitors see it, None when it is not for them."""
    if event["type"] not in _SHOWN:
        return None
    data = event["data"] if isinstance(event["data"], dict) else {}
    shown = {name: data[name] for name in _PUBLIC_DATA if name in data}
    if event["type"] == EventType.STEERING_INJECTED:
        messages = data.get("messages") or []
        shown["taken"] = [one["message_id"] for one in messages]
    return {
        "run_id": event["run_id"],
        "seq": event["seq"],
        "event_type": event["type"],
        "data": shown,
        "created_at": event["created_at"],
    }


def check_rate(visit: Visit) -> None:
    """Take one of what a visitor may say in a minute; raises ChatError."""
    wait = throttle.seconds_to_wait(
        f"visitor:{visit.visitor}", MESSAGES_PER_MINUTE, 60
    ) or throttle.seconds_to_wait(f"bot:{visit.bot.public_id}", CALLS_PER_MINUTE, 60)
    if wait:
        raise ChatError("rate_limited", f"try again in {wait:.0f} s")


def _event_id(visit: Visit, client_key: str) -> str:
    return f"chat:{visit.visitor}:{client_key}"


def _client_key(visit: Visit, event: EventLog | None) -> str:
    prefix = _event_id(visit, "")
    if event is None or not event.event_id.startswith(prefix):
        return ""
    return event.event_id.removeprefix(prefix)


def conversations(visit: Visit) -> QuerySet[Conversation]:
    """Select the visitor's conversations, whatever session scope the agent has had."""
    probe = incoming(
        visit.bot,
        PlatformEvent(event_id="", conversation=visit.place, actor={"id": visit.place}),
    )
    keys = [
        conversation_key(probe, Agent(session_scope=scope)) for scope in SessionScope
    ]
    return Conversation.objects.filter(workspace=visit.bot.workspace, key__in=keys)


def _runs(visit: Visit) -> AgentRunQuerySet:
    return AgentRun.objects.filter(conversation__in=conversations(visit))


def _live_run(visit: Visit) -> AgentRun | None:
    return _runs(visit).live().order_by("pk").first()


def _transcript(visit: Visit) -> QuerySet[TranscriptItem]:
    rows = TranscriptItem.objects.current().select_related("event", "run")
    return rows.filter(
        conversation__in=conversations(visit),
        role__in=(Role.USER, Role.ASSISTANT, Role.SYSTEM, Role.REASONING),
        item_type__in=("message", "error", "interaction", THOUGHT),
    )


def _is_forgotten(turn: Turn) -> bool:
    rows = TranscriptItem.objects.filter(run_id=turn.key, role=Role.USER)
    return rows.exclude(superseded_at=None).exists()


def _waiting(visit: Visit) -> list[dict[str, Any]]:
    """Return what has no answer yet, also what another message's run will answer.

    `taken` says that it has: such a message can no longer be taken back.
    """
    unanswered = Q(status=QueuedStatus.QUEUED) | Q(
        status=QueuedStatus.INJECTED, run__status__in=LIVE
    )
    messages = QueuedMessage.objects.select_related("event").filter(
        unanswered, conversation__in=conversations(visit)
    )
    items = [
        {
            "message_id": str(message.public_id),
            "client_key": _client_key(visit, message.event),
            "text": str(message.event.input.get("text") or ""),
            "taken": message.status == QueuedStatus.INJECTED,
        }
        for message in messages.order_by("pk")
    ]
    # What somebody else said stands in the transcript once it is taken.
    return [item for item in items if item["client_key"] or not item["taken"]]


def _items(visit: Visit, rows: list[TranscriptItem]) -> list[dict[str, Any]]:
    files = shown_files(visit, rows)
    return [_item(visit, row) | {"files": files[row.pk]} for row in rows]


def _item(visit: Visit, row: TranscriptItem) -> dict[str, Any]:
    """Return a message; `html` only of replies, `code` only of what failed."""
    is_user, text = row.role == Role.USER, full_text(row)
    failed = row.item_type == "error"
    return {
        "id": str(row.public_id),
        "role": row.role,
        "text": text,
        "html": markdown_html(text) if row.role == Role.ASSISTANT else None,
        "code": str(row.metadata.get("code") or "") if failed else None,
        "run_id": str(row.run.public_id) if row.run else None,
        "client_key": _client_key(visit, row.event) if is_user else "",
        "block": row.metadata.get("block"),  # of reasoning: which one of its run
        "incomplete": bool(row.metadata.get("incomplete")),
        "stopped": bool(row.run and row.run.status == RunStatus.CANCELLED),
        "created_at": row.created_at.isoformat(),
    }
