"""What tests ask and set of a running host's money, by `RunningHost.inside`."""

from typing import Any


def usage_of(run_id: str) -> list[dict[str, Any]]:
    """Return the records of a run's model calls, oldest first."""
    from agents.models import UsageRecord

    rows = UsageRecord.objects.filter(run_id=run_id).order_by("pk")
    return list(
        rows.values(
            *("prompt_tokens", "completion_tokens", "cost_microdollars"),
            *("cost_source", "outcome", "estimated"),
        )
    )


def use_up(slug: str) -> None:
    """Let calls under way hold an agent's whole budget of today."""
    from datetime import UTC, datetime

    from agents.models import Agent, Quota, QuotaWindow
    from agents.resources.quotas import window_of

    agent = Agent.objects.get(slug=slug)
    place = {"workspace": agent.workspace, "scope": "agent", "window": "daily"}
    Quota.objects.create(**place, agent=agent, limit_microdollars=100)
    starts_at, ends_at = window_of("daily", datetime.now(UTC))
    QuotaWindow.objects.create(
        **place,
        subject=str(agent.pk),
        starts_at=starts_at,
        ends_at=ends_at,
        reserved_microdollars=100,
    )


def spend_all(slug: str) -> None:
    """Let an agent have spent its whole budget of today."""
    from agents.models import QuotaWindow

    use_up(slug)
    QuotaWindow.objects.filter(reserved_microdollars=100).update(
        settled_microdollars=100, reserved_microdollars=0
    )


def lift(slug: str) -> None:
    """Take an agent's budgets away again."""
    from agents.models import Quota

    Quota.objects.filter(agent__slug=slug).delete()


def open_calls() -> int:
    """Return how many model calls are under way."""
    from agents.models import OpenModelCall

    return OpenModelCall.objects.count()
