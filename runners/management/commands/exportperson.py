"""Everything that this host has of one person, as a zip file."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from langbot.core.audit import command_author, record_host_act
from runners.management.commands._person import add_person, person_of
from runners.people.exporting import export_person


class Command(BaseCommand):
    help = "Writes everything that is kept of a person into a zip file (mode 0600)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="the zip file to make")
        add_person(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        person, path = person_of(options), Path(options["file"])
        try:
            path.touch(mode=0o600, exist_ok=False)
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}.") from None
        with path.open("wb") as file:
            counts = export_person(person, file)
        after = {"person": person.pseudonym, "rows": counts}
        author = command_author("exportperson")
        record_host_act(author, "person exported", after, person.workspace)
        for name, count in counts.items():
            self.stdout.write(f"{name}: {count}")
