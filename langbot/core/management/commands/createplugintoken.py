"""Makes a plugin token and prints it once."""

import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from agents.registry.tokens import create_plugin_token
from langbot.core.audit import command_author, record_change
from langbot.core.management.workspaces import add_places, chosen_place

PLUGIN_NAME = re.compile(r"\A(\*|[^/\s:*]+/[^/\s:*]+)\Z")


class Command(BaseCommand):
    help = "Makes a token for plugin processes and prints it once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="a label to know it by")
        parser.add_argument(
            "--plugin",
            metavar="AUTHOR/NAME",
            action="append",
            default=[],
            help="may register this plugin (* any); without: the first it registers",
        )
        parser.add_argument(
            "--control-plane",
            action="store_true",
            help="may take, end and cancel runs of its workspace (remote runtimes)",
        )
        add_places(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        for plugin in options["plugin"]:
            if not PLUGIN_NAME.match(plugin):
                raise CommandError(f"{plugin} is not AUTHOR/NAME.")
        workspace = chosen_place(options)
        with transaction.atomic():
            row, token = create_plugin_token(
                options["name"],
                workspace=workspace,
                plugins=options["plugin"],
                control_plane=options["control_plane"],
            )
            record_change(command_author("createplugintoken"), row, {})
        self.stdout.write(token)
