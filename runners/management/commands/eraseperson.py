"""One person leaves this host for good."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from langbot.core.audit import command_author
from runners.management.commands._person import add_person, person_of
from runners.people.erasing import erase_person
from runners.people.persons import find_holdings


class Command(BaseCommand):
    help = "Removes what a person said and what was made of it; prints how many rows."

    def add_arguments(self, parser: CommandParser) -> None:
        add_person(parser)
        parser.add_argument(
            "--yes", action="store_true", help="do it; without, only say what there is"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        person = person_of(options)
        if options["yes"]:
            counts = erase_person(person, command_author("eraseperson"))
        else:
            found = find_holdings(person)
            counts = {name: len(keys) for name, keys in found.keys.items()}
            self.stdout.write("Nothing was removed yet; --yes removes:")
        for name, count in counts.items():
            self.stdout.write(f"{name}: {count}")
