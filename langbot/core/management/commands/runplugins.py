"""Hosts runners; the project's own `manage.py` takes a shorter way to the same."""

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Hosts the runners that ship and those named in LANGBOT_RUNNERS."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--only", metavar="NAME", nargs="+", default=[])

    def handle(self, *_args: Any, **options: Any) -> None:
        command = [sys.executable, "-m", "runners.sdk"]
        if options["only"]:
            command += ["--only", *options["only"]]
        sys.stdout.flush()
        # A plugin process has neither Django nor the database's address space.
        os.execv(sys.executable, command)  # noqa: S606 - our own command line
