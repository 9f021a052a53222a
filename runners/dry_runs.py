"""What matching would look at in an event, without admitting it."""

from agents.matching import Candidate
from runners.admission import Incoming, _facts


def candidate_of(incoming: Incoming) -> Candidate:
    """Return the candidate that admission would match."""
    return Candidate(
        workspace_id=incoming.workspace.pk,
        type=incoming.type,
        bot_slug=incoming.bot.slug if incoming.bot else "",
        facts=_facts(incoming),
    )
