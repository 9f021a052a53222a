"""Every check this installation knows, with ids, against what is running too."""

from typing import Any

from django.core import checks
from django.core.management.base import BaseCommand, CommandError, CommandParser

from langbot.checks import live_checks


class Command(BaseCommand):
    help = "Runs all checks, those for deployment and of live services included."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--deploy", action="store_true", help="check for production as well"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        found = checks.run_checks(
            include_deployment_checks=options["deploy"], databases=["default"]
        )
        found += live_checks()
        visible = [message for message in found if not message.is_silenced()]
        for message in sorted(visible, key=lambda one: (-one.level, one.id or "")):
            self.stdout.write(str(message))
        if any(message.is_serious() for message in visible):
            raise CommandError(f"{len(visible)} problems were found.")
        self.stdout.write(self.style.SUCCESS(f"{len(visible)} warnings, no errors."))
