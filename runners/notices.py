"""What of the ledger people are told by mail: decisions that wait, lost replies."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.utils.translation import gettext_lazy as _

from langbot.core.audit_words import address_of
from langbot.core.notices import NoticeKind
from langbot.core.notifications import Found, Kind, register
from langbot.core.permissions import RESOLVE_ACTION
from langbot.lib.prepared import Literal
from runners.choices import DeliveryStatus
from runners.models import Delivery, PendingAction

ANSWERED_SECONDS = 30.0  # what is decided in the chat at once needs no mail
_LOOKED_BACK = timedelta(days=1)
_MOST = 200  # rows of a kind that one look tells of
_LOST = (DeliveryStatus.FAILED, DeliveryStatus.UNCERTAIN)
_ACTION = ("public_id", "workspace_id", "tool_name", "form", "agent__name")
_DELIVERY = ("public_id", "workspace_id", "target", "run__agent__name")


def register_notices() -> None:
    """Say what the kinds are; called when the apps are ready."""
    register(
        Kind(
            NoticeKind.APPROVAL,
            subject=_("%(agent)s asks a person: %(what)s"),
            permission=RESOLVE_ACTION,
            wait_seconds=ANSWERED_SECONDS,
            is_current=_is_open,
            find=waiting_actions,
        )
    )
    register(
        Kind(
            NoticeKind.DELIVERY,
            subject=_("A reply of %(agent)s could not be delivered to %(place)s"),
            permission="langbot_runners.view_delivery",
            is_current=_is_lost,
            find=lost_deliveries,
        )
    )


def waiting_actions() -> Iterator[Found]:
    """Yield what waits for a decision, never its arguments."""
    rows = PendingAction.objects.open().select_related("agent")
    for action in rows.only(*_ACTION).order_by("-pk")[:_MOST]:
        what = action.tool_name or str((action.form or {}).get("title") or "?")
        context = {"agent": action.agent.name, "what": what, "path": _page(action)}
        yield Found(action.workspace_id, str(action.public_id), context)


def lost_deliveries() -> Iterator[Found]:
    """Yield the replies of the last day that did not arrive, or perhaps did not."""
    since = datetime.now(UTC) - _LOOKED_BACK
    for status in _LOST:
        rows = Delivery.objects.filter(status=Literal(status), created_at__gt=since)
        rows = rows.select_related("run__agent").order_by("-pk")
        for one in rows.only(*_DELIVERY)[:_MOST]:
            agent = one.run.agent.name if one.run else "?"
            context = {"agent": agent, "place": one.place, "path": _page(one)}
            yield Found(one.workspace_id, str(one.public_id), context)


def _is_open(key: str) -> bool:
    return PendingAction.objects.open().filter(public_id=UUID(key)).exists()


def _is_lost(key: str) -> bool:
    return Delivery.objects.filter(public_id=UUID(key), status__in=_LOST).exists()


def _page(row: PendingAction | Delivery) -> str:
    return address_of(row._meta.label_lower, row.pk)


__all__ = ["lost_deliveries", "register_notices", "waiting_actions"]
