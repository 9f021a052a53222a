"""Makes agents of old pipeline configuration."""

from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from langbot.configuration.legacy import read_legacy
from langbot.configuration.legacy_import import Imported, import_legacy
from langbot.core.audit import command_author
from langbot.core.management.workspaces import find_workspace
from langbot.lib.files import read_json


class Command(BaseCommand):
    help = "Makes agents of old pipeline configuration; what is stored stays."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="JSON; - reads the input")
        parser.add_argument("--workspace", default="default", help="its slug")
        parser.add_argument(
            "--dry-run", action="store_true", help="show what would come of it only"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        imported = import_legacy(
            find_workspace(options["workspace"]),
            read_legacy(read_json(options["file"])),
            author=command_author("importlegacyconfig"),
            dry_run=options["dry_run"],
        )
        self._show(imported, dry_run=options["dry_run"])

    def _show(self, imported: Imported, *, dry_run: bool) -> None:
        for outcome, what, why in imported.lines:
            text = f"{outcome} {what}: {why}" if why else f"{outcome} {what}"
            if why:
                self.stderr.write(self.style.WARNING(text))
            else:
                self.stdout.write(text)
        counts = Counter(outcome for outcome, _what, _why in imported.lines)
        shown = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        self.stdout.write(f"{shown or 'Nothing'}{' (dry run)' if dry_run else ''}.")
