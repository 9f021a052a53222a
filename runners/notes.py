"""Labels and notes: what people, and not the host, write on a run."""

from django.db import transaction

from langbot.core.audit import record_act
from runners.models import AgentRun


def annotate_run(run: AgentRun, actor: str, *, labels: list[str], notes: str) -> bool:
    """Replace a run's labels and notes; False when they were so already.

    Nobody saves a run: its other columns belong to the ledger. `actor` is the name in
    the audit log, which is written here.
    """
    before = {"labels": run.labels, "notes": run.notes}
    after = {"labels": labels, "notes": notes}
    if before == after:
        return False
    with transaction.atomic():
        AgentRun.objects.filter(pk=run.pk).update(**after)
        record_act(actor, "changed", run, before=before, after=after)
    run.labels, run.notes = labels, notes
    return True
