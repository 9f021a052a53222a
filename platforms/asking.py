"""What waits for a person, told where cards cannot be shown: a text with a link.

The text is a delivery like any reply. The link is made when it is sent and stored
nowhere: who may read deliveries may not decide by that.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from django.core import signing
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from langbot.lib.conf import conf
from langbot.lib.redaction import redact
from platforms.adapters import registry
from platforms.adapters.registry import UnknownAdapterError
from platforms.models import Bot
from runners.action_forms import title_of
from runners.choices import ActionKind
from runners.ledger.frozen import frozen_delivery
from runners.ledger.outbox import new_delivery
from runners.models import AgentRun, Delivery, PendingAction

_MOST = 200  # of one look
_SALT = "langbot.action.link"


class LinkError(Exception):
    """A link that opens nothing: `is_late` when it once did."""

    def __init__(self, *, is_late: bool) -> None:
        self.is_late = is_late
        super().__init__("expired" if is_late else "not a link of ours")


def ask_elsewhere() -> int:
    """Write a message for what waits and was not told; returns how many. Idempotent.

    Call it every few seconds; it is one short query while nothing waits.
    """
    waiting = PendingAction.objects.open().filter(
        run__isnull=False, run__bot_id__isnull=False, run__dry_run=False
    )
    rows = waiting.select_related("run__event", "conversation", "agent")
    actions = list(rows.order_by("pk")[:_MOST])
    untold = _untold(actions)
    asking = [(action.run, action) for action in untold if action.run is not None]
    plain = _without_cards({run.bot_id for run, _action in asking})
    messages = [_message(*pair) for pair in asking if _goes(pair[0], plain)]
    Delivery.objects.bulk_create(messages, ignore_conflicts=True)
    return len(messages)


def with_link(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is sent: of a message that asks, its text ends with the link."""
    asked = payload.get("action")
    if not isinstance(asked, Mapping):
        return dict(payload)
    link = link_of(UUID(asked["id"]), datetime.fromisoformat(asked["expires_at"]))
    return {**payload, "text": f"{payload.get('text') or ''}\n{link}"}


def link_of(action_id: UUID, expires_at: datetime) -> str:
    """Return the address at which whoever has it decides once, until it expires."""
    claims = {"action": str(action_id), "until": int(expires_at.timestamp())}
    token = signing.Signer(salt=_SALT).sign_object(claims)
    return f"{conf().public_url.rstrip('/')}/actions/{token}/"


def read_link(token: str) -> PendingAction:
    """Return what a link is about, decided or not; raises LinkError."""
    try:
        claims = signing.Signer(salt=_SALT).unsign_object(token)
        action_id, until = UUID(claims["action"]), int(claims["until"])
    except (signing.BadSignature, KeyError, TypeError, ValueError):
        raise LinkError(is_late=False) from None
    rows = PendingAction.objects.select_related("agent", "conversation", "workspace")
    action = rows.filter(public_id=action_id).first()
    is_late = until <= datetime.now(UTC).timestamp()
    if action is None or (is_late and action.decided_at is None):
        raise LinkError(is_late=True)
    return action


def _untold(actions: Iterable[PendingAction]) -> list[PendingAction]:
    keys = {_key(action): action for action in actions}
    told = Delivery.objects.filter(idempotency_key__in=keys)
    known = set(told.values_list("idempotency_key", flat=True)) if keys else set()
    return [action for key, action in keys.items() if key not in known]


def _key(action: PendingAction) -> UUID:
    """Return the delivery's key: the same for every process that looks."""
    return uuid5(action.public_id, "asked")


def _without_cards(bot_ids: Iterable[UUID | None]) -> set[UUID]:
    """Return the bots whose platform shows texts only."""
    named = {one for one in bot_ids if one is not None}
    if not named:
        return set()
    bots = Bot.objects.filter(public_id__in=named, enabled=True)
    found = bots.values_list("public_id", "adapter")
    return {public_id for public_id, kind in found if not _shows_cards(kind)}


def _shows_cards(kind: str) -> bool:
    try:
        return registry.get(kind).supports_cards
    except UnknownAdapterError:
        return True  # it sends nothing


def _goes(run: AgentRun, plain: set[UUID]) -> bool:
    """Whether the run's replies leave, and to a place that needs a text."""
    return run.bot_id in plain and frozen_delivery(run).get("reply", True)


def _message(run: AgentRun, action: PendingAction) -> Delivery:
    asked = {
        "id": str(action.public_id),
        "kind": action.kind,
        "expires_at": action.expires_at.isoformat(),
    }
    if action.kind == ActionKind.QUESTION:
        asked["form"] = redact(action.form)
    payload = {"text": text_of(action), "artifacts": [], "action": asked}
    delivery = new_delivery(run, action.conversation, payload)
    delivery.idempotency_key = _key(action)
    return delivery


def text_of(action: PendingAction) -> str:
    """Return the message, without the link and without arguments."""
    until = f"{localtime(action.expires_at):%Y-%m-%d %H:%M %Z}"
    where = _("Decide here until %(when)s; the link works once:")
    if action.kind == ActionKind.QUESTION:
        where = _("Answer here until %(when)s; the link works once:")
    first, *others = _asked(action)
    lines = [f"{action.agent.name}: {first}", *others, where % {"when": until}]
    return "\n".join(lines)


def _asked(action: PendingAction) -> list[str]:
    """Return what is asked and why, without what another line says too."""
    form = action.form or {}
    more = str(form.get("fallback_text") or form.get("description") or "")
    said = dict.fromkeys([title_of(action), action.reason, more])
    return [one for one in said if one and not any(one in x for x in said if x != one)]


__all__ = ["LinkError", "ask_elsewhere", "link_of", "read_link", "with_link"]
