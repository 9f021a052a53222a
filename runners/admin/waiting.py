"""How many decisions wait for a person: in the sidebar of every page, on the first."""

from typing import Any

from langbot.core.access import visible_rows
from langbot.lib.counts import capped
from runners.admin.overview_facts import Facts
from runners.models import PendingAction

MOST = 99  # counted; more are shown as so many and a plus


def waiting_count(user: Any) -> tuple[int, str]:
    """Return how many the person may see, and how it is shown.

    One short query; none where the facts of the first page are at hand.
    """
    facts: Facts | None = getattr(user, "_langbot_facts", None)
    if facts is not None:
        known = facts.counts.get("actions", 0)
    else:
        rows = visible_rows(user, PendingAction.objects.open())
        known = rows[: MOST + 1].count()
    return known, capped(known, MOST)
