"""Prepares a new installation, and prints its secrets once."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from langbot.checks import TAG, unapplied_migrations
from langbot.first_run import RESULT_FILE, ensure_plugin_key, first_run, urls
from langbot.lib.conf import conf

LABELS = {
    "admin_url": "Admin",
    "username": "User name",
    "password": "Password (shown once)",
    "api_token": "API token (shown once)",
    "plugin_token": "Plugin token (shown once)",
    "chat_url": "Web chat",
}


class Command(BaseCommand):
    help = "Creates the first workspace, user, tokens, agents and bot. Safe to repeat."
    # Every start waits for this command; the other checks load every URL.
    requires_system_checks = [TAG]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--migrate", action="store_true", help="migrate the database before"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)
        if options["migrate"] and unapplied_migrations():
            call_command("migrate", interactive=False, verbosity=0)
        answer = first_run()
        ensure_plugin_key()
        shown = answer or urls()
        for name, label in LABELS.items():
            if shown.get(name):
                self.stdout.write(f"{label + ':':<28}{shown[name]}")
        if answer:
            self.stdout.write(f"Also in {conf().data_dir / RESULT_FILE}")
