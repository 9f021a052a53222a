"""`?metadata.<key>=<value>`: rows by what their sender wrote on them."""

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import Model, QuerySet, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter

from langbot.problems import invalid

Row = TypeVar("Row", bound=Model)

PREFIX = "metadata."
MAXIMUM = 5  # keys in one question
METADATA = OpenApiParameter(
    "metadata.{key}",
    str,
    description="The value of a member of `metadata`, compared as text.",
)


def with_metadata(rows: QuerySet[Row], query: Mapping[str, str]) -> QuerySet[Row]:
    """Keep the rows whose metadata has these values; raises a 400 for too many."""
    wanted = {
        name.removeprefix(PREFIX): value
        for name, value in query.items()
        if name.startswith(PREFIX)
    }
    if len(wanted) > MAXIMUM:
        message = _("Ask for at most %(maximum)d members.") % {"maximum": MAXIMUM}
        raise invalid({"metadata": [message]})
    # As text, for `?metadata.ticket=7` finds the number and the word alike.
    texts: dict[str, Any] = {
        f"metadata_{number}": Cast(KeyTextTransform(key, "metadata"), TextField())
        for number, key in enumerate(wanted)
    }
    values = dict(zip(texts, wanted.values(), strict=True))
    found: QuerySet[Row] = rows.alias(**texts).filter(**values)
    return found
