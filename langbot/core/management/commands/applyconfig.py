"""Makes a workspace what a configuration file says."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from langbot.configuration.apply import Applied, apply_configuration
from langbot.configuration.documents import read_document
from langbot.core.audit import command_author
from langbot.core.management.workspaces import find_workspace
from langbot.lib.files import read_json


class Command(BaseCommand):
    help = "Makes a workspace what a configuration file says, whole or not at all."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="JSON; - reads the input")
        parser.add_argument("--workspace", default="default", help="its slug")
        parser.add_argument(
            "--dry-run", action="store_true", help="show the differences only"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        workspace = find_workspace(options["workspace"])
        try:
            applied = apply_configuration(
                workspace,
                read_document(read_json(options["file"])),
                author=command_author("applyconfig"),
                dry_run=options["dry_run"],
            )
        except ValidationError as error:
            raise CommandError(_problems(error)) from None
        self._show(applied, dry_run=options["dry_run"])

    def _show(self, applied: Applied, *, dry_run: bool) -> None:
        for change in applied.changes:
            self.stdout.write(f"{change['action']} {change['object']}")
            for one in change["differences"] if change["action"] == "changed" else []:
                text = f"  {one['path']}: {one['before']!r} -> {one['after']!r}"
                self.stdout.write(text)
        for warning in applied.warnings:
            text = f"{warning['code']} {warning['object']}: {warning['detail']}"
            self.stderr.write(self.style.WARNING(text))
        count = len(applied.changes)
        self.stdout.write(f"{count} changes{' (dry run)' if dry_run else ''}.")


def _problems(error: ValidationError) -> str:
    """Return one line for each thing that is wrong."""
    if not hasattr(error, "error_dict"):
        return "\n".join(error.messages)
    return "\n".join(
        f"{place}: {message}"
        for place, messages in error.message_dict.items()
        for message in messages
    )
