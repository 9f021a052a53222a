"""What time does to remotely held runs, called by `RunningHost.inside`."""

from datetime import timedelta


def expire_lease(run_id: str) -> int:
    """Let a run's lease have ended a second ago."""
    from django.db.models.functions import Now

    from runners.models import AgentRun

    held = AgentRun.objects.filter(public_id=run_id, claim_lease_expires_at__gt=Now())
    return held.update(claim_lease_expires_at=Now() - timedelta(seconds=1))


def pass_deadline(run_id: str) -> int:
    """Let a run's deadline have passed a minute ago."""
    from django.db.models.functions import Now

    from runners.models import AgentRun

    runs = AgentRun.objects.filter(public_id=run_id)
    return runs.update(deadline_at=Now() - timedelta(minutes=1))
