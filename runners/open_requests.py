"""What a run waits for people to decide, for a client that comes anew (LH-13)."""

from typing import Any

from runners.choices import ActionKind
from runners.ledger.pausing import QUESTION, requested
from runners.models import PendingAction


def open_requests(run_key: int) -> list[dict[str, Any]]:
    """Return the data of the run's `action.requested` events that are still open."""
    rows = PendingAction.objects.open().filter(run=run_key)
    return [_told(row) for row in rows.order_by("pk") if row.is_usable]


def _told(action: PendingAction) -> dict[str, Any]:
    if action.kind == ActionKind.APPROVAL:
        return requested(action)
    form = dict(action.form or {})
    return {
        "action": QUESTION,
        "id": str(action.public_id),
        "expires_at": action.expires_at.isoformat(),
        "payload": {"kind": form.pop("type", "form"), **form},
    }
