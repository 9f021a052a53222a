"""Starts everything; the project's own `manage.py` takes a shorter way to the same."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from langbot import launch
from langbot.env import read_environment


class Command(BaseCommand):
    help = "Starts Valkey, web, worker and plugins, and keeps them running."
    # The checks come with `firstrun`.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        launch.add_arguments(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        if not (launch.PROJECT / "manage.py").exists():
            message = (
                "runlangbot starts the host's own project. "
                "Start web, worker and plugins of yours (docs/embedding.md)."
            )
            raise CommandError(message)
        launch.become_supervisor(read_environment(), options["host"], options["port"])
