"""Reserve before a model call, settle after it, and record each call once.

`begin_call` writes a row before the call, `settle_call` replaces it by a record. Who
deletes the row settles: a call whose worker died is settled by the sweep, with an
unknown cost. Between the two its reserve counts as spent, so that any number of calls
at once exceed a limit by one reserve at most.

Lock order: windows of quotas in id order first, then everything else.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest

from agents.choices import CallOutcome, ProviderKind
from agents.resources.budgets import (
    Limit,
    Spender,
    check_left,
    limits_of,
    recorded,
    recorded_unknown,
    windows_of,
)
from agents.resources.near_end import warn_near_end
from agents.resources.pricing import LARGEST, Tokens, cost_of, priced, read_tokens
from agents.resources.quotas import QuotaWindow
from agents.resources.shapes import ModelSpec
from agents.resources.usage import ModelPrice, OpenModelCall, UsageRecord
from langbot.lib.conf import limits
from langbot.lib.models import lock_rows

logger = logging.getLogger(__name__)

_MARGIN_SECONDS: Final = 60
_SWEPT_AT_ONCE: Final = 500
_FACTS: Final = (
    *("workspace_id", "agent_id", "person", "run_id", "invocation", "call"),
    *("kind", "model_id", "model_name", "provider_name", "price_id"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """Who makes which model call; `estimate` counts the tokens that go in."""

    spender: Spender
    model: ModelSpec
    run_id: UUID | None = None
    token: int = 0
    invocation: int = 1
    call: int = 0
    estimate: Callable[[], int] = int
    most_output: int | None = None
    seconds: float = 0.0


def begin_call(facts: CallFacts) -> OpenModelCall:
    """Reserve for a call and note that it begins.

    Raises QuotaExceededError when a limit is reached; nothing was written then.
    """
    now = datetime.now(UTC)
    price = _price_of(facts.model, now)
    opened = _opened(facts, now, price)
    holding = limits_of(facts.spender, now)
    if not holding:
        opened.save(force_insert=True)
        return opened
    opened.reserved_microdollars = reserve_for(facts, price)
    _make_missing(facts.spender, holding)
    with transaction.atomic():
        opened.windows = _reserve(facts.spender, holding, opened)
        opened.save(force_insert=True)
    return opened


def reserve_for(facts: CallFacts, price: ModelPrice | None) -> int:
    """Return what a call may cost: by its price, else the settings' reserve."""
    bounds = limits()
    if facts.model.provider_kind == ProviderKind.DEMO:
        return 0
    if price is None:
        return bounds.call_reserve_microdollars
    output = facts.most_output or bounds.call_reserve_tokens
    return priced(Tokens(prompt=facts.estimate(), completion=output), price)


def settle_call(
    opened: OpenModelCall,
    usage: Mapping[str, Any] | None,
    outcome: CallOutcome = CallOutcome.COMPLETED,
) -> UsageRecord | None:
    """Record a call and return its reserve; None when it is settled already."""
    record = _record(opened, usage, outcome)
    with transaction.atomic():
        windows = _locked_windows(opened)
        if not OpenModelCall.objects.filter(pk=opened.pk).delete()[0]:
            return None
        record.save(force_insert=True)
        _settle(windows, opened, record.cost_microdollars)
    if record.cost_missing:
        logger.warning("nobody knows what a call of %s cost", record.model_name)
    return record


def release_call(opened: OpenModelCall) -> bool:
    """Return the reserve of a call that its provider refused: it cost nothing."""
    with transaction.atomic():
        windows = _locked_windows(opened)
        if not OpenModelCall.objects.filter(pk=opened.pk).delete()[0]:
            return False
        _settle(windows, opened, 0)
    return True


def settle_lost_calls() -> list[UUID]:
    """Settle calls that nobody will settle any more; returns the runs they were of."""
    due = OpenModelCall.objects.filter(expires_at__lte=datetime.now(UTC))
    records = [
        settle_call(opened, None, CallOutcome.LOST)
        for opened in due.order_by("pk")[:_SWEPT_AT_ONCE]
    ]
    runs = {record.run_id for record in records if record is not None}
    return [run for run in runs if run is not None]


def _price_of(model: ModelSpec, now: datetime) -> ModelPrice | None:
    if model.key is None:
        return None
    rows = ModelPrice.objects.filter(model=model.key, valid_from__lte=now)
    return rows.order_by("-valid_from").first()


def _opened(facts: CallFacts, now: datetime, price: ModelPrice | None) -> OpenModelCall:
    spender, model = facts.spender, facts.model
    return OpenModelCall(
        workspace_id=spender.workspace_id,
        agent_id=spender.agent_id,
        person=spender.person,
        run_id=facts.run_id,
        token=facts.token,
        invocation=facts.invocation,
        call=facts.call,
        kind=model.kind,
        model_id=model.key,
        model_name=model.name,
        provider_name=model.provider_name,
        price=price,
        is_free=model.provider_kind == ProviderKind.DEMO,
        started_at=now,
        expires_at=now + timedelta(seconds=facts.seconds + _MARGIN_SECONDS),
    )


def _reserve(
    spender: Spender, holding: Sequence[Limit], opened: OpenModelCall
) -> dict[str, int]:
    """Take the reserve under the windows' lock; returns the limit of each window."""
    rows = lock_rows(windows_of(spender.workspace_id, holding))
    used = {
        row.place: row.settled_microdollars + row.reserved_microdollars for row in rows
    }
    check_left(holding, used)
    amounts = {limit.place: limit.microdollars for limit in holding}
    QuotaWindow.objects.filter(pk__in=[row.pk for row in rows]).update(
        reserved_microdollars=F("reserved_microdollars") + opened.reserved_microdollars
    )
    return {str(row.pk): amounts[row.place] for row in rows}


def _make_missing(spender: Spender, holding: Sequence[Limit]) -> None:
    """Add the windows that just began, with what the records say was spent."""
    known = {row.place for row in windows_of(spender.workspace_id, holding)}
    missing = [limit for limit in holding if limit.place not in known]
    if missing:
        QuotaWindow.objects.bulk_create(
            [_new_window(spender, limit) for limit in missing], ignore_conflicts=True
        )


def _new_window(spender: Spender, limit: Limit) -> QuotaWindow:
    return QuotaWindow(
        workspace_id=spender.workspace_id,
        scope=limit.scope,
        subject=limit.subject,
        window=limit.window,
        starts_at=limit.starts_at,
        ends_at=limit.ends_at,
        settled_microdollars=min(recorded(spender, limit), LARGEST),
        unknown_calls=recorded_unknown(spender, limit),
    )


def _locked_windows(opened: OpenModelCall) -> list[QuotaWindow]:
    if not opened.windows:
        return []
    return lock_rows(QuotaWindow.objects.filter(pk__in=map(int, opened.windows)))


def _settle(
    windows: Sequence[QuotaWindow], opened: OpenModelCall, known_cost: int | None
) -> None:
    if not windows:
        return
    cost = known_cost or 0
    reserved = opened.reserved_microdollars
    QuotaWindow.objects.filter(pk__in=[row.pk for row in windows]).update(
        # never below nothing: an admin may have begun the window anew
        reserved_microdollars=Greatest(F("reserved_microdollars") - reserved, 0),
        settled_microdollars=F("settled_microdollars") + cost,
        unknown_calls=F("unknown_calls") + int(known_cost is None),
    )
    for row in windows:
        warn_near_end(row, cost, opened.windows[str(row.pk)])


def _record(
    opened: OpenModelCall, usage: Mapping[str, Any] | None, outcome: CallOutcome
) -> UsageRecord:
    tokens = read_tokens(usage)
    cost = cost_of(usage, tokens, opened.price, is_free=opened.is_free)
    return UsageRecord(
        **{name: getattr(opened, name) for name in _FACTS},
        outcome=outcome,
        prompt_tokens=tokens.prompt,
        completion_tokens=tokens.completion,
        cached_tokens=tokens.cached,
        cache_write_tokens=tokens.cache_write,
        reasoning_tokens=tokens.reasoning,
        estimated=tokens.estimated,
        cost_microdollars=cost.microdollars,
        cost_source=cost.source,
    )
