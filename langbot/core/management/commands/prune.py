"""Retention now, instead of at the workers' next sweep."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from langbot.core.audit import command_author, record_host_act
from langbot.core.retention import purge_all


class Command(BaseCommand):
    help = "Deletes everything whose time is over, and prints how many rows went."

    def handle(self, *_args: Any, **_options: Any) -> None:
        removed = purge_all()
        if any(removed.values()):
            record_host_act(command_author("prune"), "pruned", removed)
        for name, count in removed.items():
            self.stdout.write(f"{name}: {count if count >= 0 else 'failed'}")
        failed = [name for name, count in removed.items() if count < 0]
        if failed:
            raise CommandError(f"see the log of: {', '.join(failed)}")
