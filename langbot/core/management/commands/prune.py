"""Retention now, instead of at the workers' next sweep."""

from typing import Any

from django.core.management.base import BaseCommand

from langbot.core.retention import purge_all


class Command(BaseCommand):
    help = "Deletes everything whose time is over."

    def handle(self, *_args: Any, **_options: Any) -> None:
        for name, count in purge_all().items():
            self.stdout.write(f"{name}: {count}")
