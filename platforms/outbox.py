"""Sends deliveries: each once, in the order of its target, whoever runs this.

A delivery is taken by compare-and-set and only while nothing older of its target is
open. What a dead sender left is decided when its claim expires: repeated where that
is harmless or wanted, else `uncertain`. No transaction is open while sending.
"""

import logging
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from langbot.lib.db import with_fresh_connection
from langbot.lib.ids import uuid7
from langbot.lib.prepared import Literal
from langbot.lib.secrets import SecretUnreadableError
from platforms.adapters import registry
from platforms.adapters.base import AdapterError, SendResult
from platforms.adapters.registry import UnknownAdapterError
from platforms.asking import with_link
from platforms.models import Bot
from runners.choices import DeliveryStatus
from runners.models import Delivery
from runners.signals import tell_delivery_failed
from runners.wakes import wake_deliveries

logger = logging.getLogger(__name__)

CLAIM_SECONDS = 60.0  # far over any adapter's longest send
RETRY_SECONDS = (10, 30, 120, 600, 1800)
LOGGED_ATTEMPTS = 50
_JITTER = 0.2
# In the words and the order of the partial indexes.
_OPEN = (Literal(DeliveryStatus.PENDING), Literal(DeliveryStatus.SENDING))
_ABANDONED = {"outcome": "abandoned", "reason": "the sender died"}
_CLOSED_BY_FAILURE = (DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to, as the attempt log shows it."""

    status: DeliveryStatus
    name: str
    reason: str = ""
    status_code: int | None = None
    message_id: str = ""
    retry: bool = False


_UNCERTAIN = Outcome(
    DeliveryStatus.UNCERTAIN, "uncertain", "the sender died while sending"
)


def deliver(delivery_id: int) -> Delivery | None:
    """Make one attempt; None when it is not due, not its turn, or taken.

    Blocks for as long as the adapter sends. Never raises for a failed delivery.
    """
    claimed = with_fresh_connection(_claim, delivery_id)
    if claimed is None:
        return None
    delivery, bot, outcome = claimed
    if outcome is None:
        original = with_fresh_connection(original_message, delivery)
        outcome = _send(bot, delivery, original)
    with_fresh_connection(_record, delivery, outcome)
    return delivery


def due(maximum: int = 100) -> list[int]:
    """Return ids whose turn it is, oldest first."""
    return list(
        _claimable()
        .order_by("next_attempt_at", "pk")
        .values_list("pk", flat=True)[:maximum]
    )


def following(delivery: Delivery) -> int | None:
    """Return what became sendable to the same target, now that this one ended."""
    return (
        _claimable()
        .filter(bot_id=delivery.bot_id, target=delivery.target)
        .values_list("pk", flat=True)
        .first()
    )


def retry_delivery(delivery: Delivery) -> bool:
    """Send a failed or uncertain delivery again, with all attempts; False if not one.

    Its key stays the same. It goes before whatever still waits for its target.
    """
    changed = Delivery.objects.filter(
        pk=delivery.pk, status__in=_CLOSED_BY_FAILURE
    ).update(status=DeliveryStatus.PENDING, attempts=0, next_attempt_at=Now())
    if changed:
        wake_deliveries([delivery.pk])
    return changed == 1


def cancel_delivery(delivery: Delivery) -> bool:
    """Give up a delivery that nobody is sending; False when it is too late."""
    return (
        Delivery.objects.filter(
            pk=delivery.pk, status__in=(DeliveryStatus.PENDING, *_CLOSED_BY_FAILURE)
        ).update(status=DeliveryStatus.CANCELLED)
        == 1
    )


def _claimable() -> QuerySet[Delivery]:
    older = Delivery.objects.filter(
        bot_id=OuterRef("bot_id"),
        target=OuterRef("target"),
        pk__lt=OuterRef("pk"),
        status__in=_OPEN,
    )
    # A first attempt is always due: its time came from another host's clock.
    time_has_come = Q(attempts=0) | Q(next_attempt_at__lte=Now())
    return Delivery.objects.filter(
        (Q(status=DeliveryStatus.PENDING) & time_has_come)
        | Q(status=DeliveryStatus.SENDING, claimed_until__lte=Now()),
        ~Exists(older),
        status__in=_OPEN,
    )


def _claim(delivery_id: int) -> tuple[Delivery, Bot, Outcome | None] | None:
    """Take a delivery and log the attempt; an outcome when nothing is to be sent."""
    delivery = _claimable().filter(pk=delivery_id).first()
    if delivery is None:
        return None
    bot, problem = _load_bot(delivery.bot_id)
    decided = problem
    log = list(delivery.attempt_log or [])
    if delivery.status == DeliveryStatus.SENDING:
        log[-1:] = [entry | _ABANDONED for entry in log[-1:]]
        decided = problem or (None if _may_repeat(delivery, bot) else _UNCERTAIN)
    log.append({"at": _now(), "outcome": "started"})
    return (delivery, bot, decided) if _take(delivery, log) else None


def _take(delivery: Delivery, log: list[dict[str, Any]]) -> bool:
    """Claim by compare-and-set; `attempts` is the version that guards the log."""
    token, kept = uuid7(), log[-LOGGED_ATTEMPTS:]
    taken = (
        _claimable()
        .filter(pk=delivery.pk, attempts=delivery.attempts, status=delivery.status)
        .update(
            status=DeliveryStatus.SENDING,
            claim_token=token,
            claimed_until=Now() + timedelta(seconds=CLAIM_SECONDS),
            attempts=F("attempts") + 1,
            attempt_log=kept,
        )
    )
    if taken and "stream" in delivery.payload:
        delivery.refresh_from_db(fields=["payload"])  # it grew until it was taken
    delivery.claim_token, delivery.attempt_log = token, kept
    delivery.attempts += 1
    return taken == 1


def _load_bot(bot_id: UUID) -> tuple[Bot, Outcome | None]:
    """Return the bot, and why it cannot send if so."""
    bots = Bot.objects.filter(public_id=bot_id)
    try:
        bot = bots.first()
    except SecretUnreadableError:
        return bots.defer("secrets")[0], _refused("the bot's secrets cannot be read")
    if bot is None:
        return Bot(), _refused("the bot is gone")
    return bot, None if bot.enabled else _refused("the bot is disabled")


def _refused(reason: str) -> Outcome:
    return Outcome(DeliveryStatus.FAILED, "refused", reason)


def _may_repeat(delivery: Delivery, bot: Bot) -> bool:
    """Whether sending twice is harmless, or what the agent's policy asks for."""
    if delivery.at_least_once or original_message(delivery):
        return True  # the same text in the place of the same message
    try:
        return registry.get(bot.adapter).deduplicates
    except UnknownAdapterError:
        return False


def original_message(delivery: Delivery) -> str:
    """Return the platform's id of the message that this one replaces.

    Empty for a message of its own; also where the first one did not arrive, so that
    its last text does.
    """
    edited = delivery.payload.get("edit_of")
    if not edited:
        return ""
    sent = Delivery.objects.filter(
        public_id=edited, status=DeliveryStatus.DELIVERED, bot_id=delivery.bot_id
    )
    return sent.values_list("platform_message_id", flat=True).first() or ""


def _send(bot: Bot, delivery: Delivery, original: str) -> Outcome:
    try:
        adapter = registry.get(bot.adapter)
        delivery.payload = with_link(delivery.payload)
        if original and adapter.supports_edit:
            result = adapter.edit(bot, original, delivery)
        else:
            result = adapter.send(bot, delivery)
    except UnknownAdapterError:
        return _refused("its platform is not installed")
    except AdapterError as error:
        return _failure(bot, delivery, error)
    except Exception:  # an adapter's bug must not stop the outbox
        logger.exception("adapter %s failed while sending", bot.adapter)
        defect = AdapterError("internal error of the adapter", ambiguous=True)
        return _failure(bot, delivery, defect)
    return _success(result)


def _success(result: SendResult) -> Outcome:
    return Outcome(
        DeliveryStatus.DELIVERED,
        "delivered",
        status_code=result.status_code,
        message_id=result.message_id,
    )


def _failure(bot: Bot, delivery: Delivery, error: AdapterError) -> Outcome:
    if error.ambiguous and not _may_repeat(delivery, bot):
        status, name, retry = DeliveryStatus.UNCERTAIN, "uncertain", False
    elif error.permanent or delivery.attempts > len(RETRY_SECONDS):
        status, name, retry = DeliveryStatus.FAILED, "failed", False
    else:
        status, name, retry = DeliveryStatus.PENDING, "retry", True
    return Outcome(status, name, str(error), error.status_code, retry=retry)


def _record(delivery: Delivery, outcome: Outcome) -> bool:
    """Write an attempt's outcome; False when the claim was lost meanwhile."""
    log = list(delivery.attempt_log)
    log[-1] = log[-1] | {
        "ended_at": _now(),
        "outcome": outcome.name,
        "status_code": outcome.status_code,
        "reason": outcome.reason[:500],
    }
    changes: dict[str, Any] = {
        "status": outcome.status,
        "attempt_log": log,
        "claim_token": None,
        "claimed_until": None,
        "last_error": outcome.reason[:2000],
        "platform_message_id": outcome.message_id[:200],
    }
    if outcome.status == DeliveryStatus.DELIVERED:
        changes["delivered_at"] = Now()
    if outcome.retry:
        changes["next_attempt_at"] = Now() + _delay(delivery.attempts)
    written = Delivery.objects.filter(
        pk=delivery.pk, claim_token=delivery.claim_token, status=DeliveryStatus.SENDING
    ).update(**changes)
    _note_on_bot(delivery.bot_id, outcome)
    if not written:
        logger.warning("delivery %s: claim was lost", delivery.public_id)
    delivery.status = outcome.status
    if written and outcome.status in _CLOSED_BY_FAILURE:
        tell_delivery_failed(delivery, outcome.reason)
    return bool(written)


def _note_on_bot(bot_id: UUID, outcome: Outcome) -> None:
    """Keep the bot's last error; a delivered message clears it."""
    bots = Bot.objects.filter(public_id=bot_id)
    if outcome.reason:
        bots.update(last_error=outcome.reason[:2000])
    else:
        bots.exclude(last_error="").update(last_error="")


def _delay(attempts: int) -> timedelta:
    base = RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1]
    factor = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load
    return timedelta(seconds=base * factor)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
