"""`?metadata.<key>=<value>`: runs by what their sender wrote on them."""

from collections.abc import Mapping

from django.db.models import QuerySet
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter

from langbot.core.models import Workspace
from langbot.problems import invalid
from runners.ledger.metadata import with_member
from runners.models import AgentRun

PREFIX = "metadata."
MAXIMUM = 5  # keys in one question
METADATA = OpenApiParameter(
    "metadata.{key}",
    str,
    description="The value of a member of `metadata`, compared as text.",
)


def with_metadata(
    runs: QuerySet[AgentRun], workspace: Workspace | None, query: Mapping[str, str]
) -> QuerySet[AgentRun]:
    """Keep the runs whose metadata has these values; raises a 400 for too many.

    As text, for `?metadata.ticket=7` finds the number and the word alike. Lists and
    objects are not found.
    """
    wanted = {
        name.removeprefix(PREFIX): value
        for name, value in query.items()
        if name.startswith(PREFIX)
    }
    if len(wanted) > MAXIMUM:
        message = _("Ask for at most %(maximum)d members.") % {"maximum": MAXIMUM}
        raise invalid({"metadata": [message]})
    if workspace is None:
        return runs
    for name, value in wanted.items():
        runs = with_member(runs, workspace.pk, name, value)
    return runs
