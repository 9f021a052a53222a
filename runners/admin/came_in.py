"""What somebody said, as the pages of its event and of its runs show it."""

from dataclasses import dataclass, field
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from runners.admin.wording import message_text
from runners.ledger.lineage import SOURCE
from runners.models import EventLog


@dataclass(frozen=True, slots=True)
class CameIn:
    """The words of an event, who said them, and the names of the files with them."""

    text: str
    who: str
    files: list[str] = field(default_factory=list)


def came_in(event: EventLog) -> CameIn:
    """Return what an event brought; what a run sent is kept by its summary only."""
    given = event.input if isinstance(event.input, dict) else {}
    said = given.get("text") or message_text({"content": given.get("contents")})
    files = [_name(one) for one in given.get("attachments") or []]
    return CameIn(str(said or event.input_summary), person(event.actor), files)


def _name(attachment: Any) -> str:
    known = attachment if isinstance(attachment, dict) else {}
    return str(known.get("name") or known.get("url") or known.get("id") or "—")


def person(value: Any) -> str:
    """Return who is meant, as `name (type id)`."""
    if not isinstance(value, dict):
        return "—"
    name, kind, key = (str(value.get(part) or "") for part in ("name", "type", "id"))
    known = " ".join(part for part in (kind, key) if part)
    return f"{name} ({known})" if name and known else name or known or "—"


def source_link(event: EventLog) -> str:
    """Return the source of an event; one that is a run leads to its page."""
    if not event.source.startswith(SOURCE):
        return event.source
    run_id = event.source.removeprefix(SOURCE)
    try:
        there = reverse("admin:langbot_runners_agentrun_by_id", args=[run_id])
    except NoReverseMatch:  # not an id
        return event.source
    return format_html('<a class="lb-record" href="{}">{}</a>', there, event.source)
