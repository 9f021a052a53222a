"""Effects of host calls, done once however often a frame arrives.

A restarted Redis or a new worker hands calls on again that were answered before. Doing
an old write once more would undo the newer ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, transaction

from runners.choices import HostCallStatus
from runners.models import HostCall


@dataclass(frozen=True, slots=True)
class CallKey:
    """Which call of which run: a plugin numbers its requests upwards."""

    run_id: int
    invocation: int
    plugin_seq_id: int
    action: str


def once(key: CallKey, effect: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do `effect` and keep its answer in one transaction; a repeat only gets that.

    For effects in our own database.
    """
    try:
        with transaction.atomic():
            answer = effect()
            HostCall.objects.create(
                run_id=key.run_id,
                invocation=key.invocation,
                plugin_seq_id=key.plugin_seq_id,
                action=key.action,
                status=HostCallStatus.ANSWERED,
                answer=answer,
                answered_at=datetime.now(UTC),
            )
    except IntegrityError:
        call = HostCall.objects.filter(
            run_id=key.run_id,
            invocation=key.invocation,
            plugin_seq_id=key.plugin_seq_id,
        ).first()
        if call is None:
            raise
        return dict(call.answer)
    return answer
