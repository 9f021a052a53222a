"""The routing dry run: which binding an event would match, and why others lose."""

import json
from types import SimpleNamespace
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rest_framework.exceptions import ValidationError

from agents.explaining import document_of, explain
from langbot.core.management.workspaces import find_workspace
from langbot.lib.files import read_json
from runners.admission import BotRef, Incoming
from runners.api.events import NewEventSerializer
from runners.dry_runs import candidate_of


class Command(BaseCommand):
    help = "Shows which binding an event would match; nothing is written."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="JSON; - reads the input")
        parser.add_argument("--workspace", default="default", help="its slug")

    def handle(self, *_args: Any, **options: Any) -> None:
        workspace = find_workspace(options["workspace"])
        context = {"view": SimpleNamespace(workspace=workspace)}
        event = NewEventSerializer(data=read_json(options["file"]), context=context)
        try:
            event.is_valid(raise_exception=True)
        except ValidationError as error:
            raise CommandError(json.dumps(error.detail, default=str)) from None
        given = event.validated_data
        bot = given.get("bot")
        incoming = Incoming(
            workspace=workspace,
            source="command",
            event_id="dry run",
            type=given["type"],
            trigger_source="api",
            bot=None if bot is None else BotRef(bot.public_id, bot.slug),
            external_conversation=given.get("conversation", ""),
            thread=given.get("thread", ""),
            actor=given.get("actor") or {},
            input=given.get("input") or {},
            data=given.get("data") or {},
        )
        found = document_of(explain(candidate_of(incoming)), workspace.pk)
        self.stdout.write(json.dumps(found, indent=2, ensure_ascii=False))
