"""Prints a workspace's configuration as JSON, without secrets."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from langbot.configuration.export import export_configuration
from langbot.core.management.workspaces import find_workspace


class Command(BaseCommand):
    help = "Prints a workspace's configuration as JSON, without secrets."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workspace", default="default", help="its slug")

    def handle(self, *_args: Any, **options: Any) -> None:
        content = export_configuration(find_workspace(options["workspace"]))
        self.stdout.write(json.dumps(content, indent=2, ensure_ascii=False))
