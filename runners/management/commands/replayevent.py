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


class Command(BaseCommand):
    help = "Admits a recorded event again, as a new one, and prints what became of it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", metavar="ID", help="the event's id in the log")

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
        event = events.filter(public_id=UUID(given)).first()
    except ValueError:
        event = None
    if event is None:
        raise CommandError(f"There is no event {given}.")
    return event
