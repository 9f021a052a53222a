"""Sends a recorded event through matching and admission again."""

import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from langbot.core.audit import command_author
from runners.answers import answer_for
from runners.errors import AdmissionError
from runners.models import EventLog
from runners.replays import replay_event

_MOST = 20  # events of one id that are named


class Command(BaseCommand):
    help = "Admits a recorded event again, as a new one, and prints what became of it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "id", metavar="ID", help="the event's id in the log, or its sender's own"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        event = _find_event(options["id"])
        try:
            admitted = replay_event(event, command_author("replayevent"))
        except AdmissionError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(json.dumps(answer_for(admitted), indent=2))


def _find_event(given: str) -> EventLog:
    events = EventLog.objects.select_related("workspace", "conversation")
    try:
        found = list(events.filter(public_id=UUID(given)))
    except ValueError:
        found = []
    found = found or list(events.filter(event_id=given).order_by("-pk")[:_MOST])
    if not found:
        message = (
            f"There is no event {given}. Give its id in the admin's list of events, "
            "or the event_id that it was sent with."
        )
        raise CommandError(message)
    if len(found) > 1:
        several = "\n".join(f"{one.public_id} from {one.source}" for one in found)
        raise CommandError(f"Several events have the id {given}:\n{several}")
    return found[0]
