"""Encrypts everything that is encrypted at rest with a new key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from langbot.core import rotation
from langbot.core.authors import command_author
from langbot.core.rotation import Rotation, SecretsLeftError
from langbot.lib.key_ring import KeyFileError, alone, current_keys


class Command(BaseCommand):
    help = (
        "Encrypts every stored secret with a new key, while everything runs. "
        "Killed, it goes on when started again. Old keys stay until --forget-old."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="count the secrets, change nothing"
        )
        parser.add_argument(
            "--forget-old",
            action="store_true",
            help="afterwards drop the keys that nothing needs any more",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if not current_keys():
            raise CommandError("There is no key: see LANGBOT_SECRET_KEYS.")
        if options["dry_run"]:
            self._print(rotation.count_secrets())
            return
        try:
            with alone():
                found = self._rotate(forgets=options["forget_old"])
        except KeyFileError as error:
            raise CommandError(f"Nothing was done: {error}.") from None
        if found.unreadable:
            names = "\n".join(found.unreadable[:20])
            raise CommandError(
                f"{len(found.unreadable)} secrets cannot be read with any key:\n{names}"
            )

    def _rotate(self, *, forgets: bool) -> Rotation:
        author = command_author("rotatesecrets")
        self._begin()
        found = rotation.rewrite_secrets(author)
        self._print(found)
        if forgets:
            self._forget(author)
        return found

    def _begin(self) -> None:
        try:
            key = rotation.begin_rotation()
        except KeyFileError:
            if len(current_keys()) == 1:
                raise
            self.stdout.write("The first of the listed keys encrypts.")
        else:
            self.stdout.write(f"Key {key} encrypts.")

    def _forget(self, author: str) -> None:
        try:
            count = rotation.forget_old_keys(author)
        except (SecretsLeftError, KeyFileError) as error:
            raise CommandError(f"The old keys stay: {error}.") from None
        self.stdout.write(f"{count} old keys are gone.")

    def _print(self, found: Rotation) -> None:
        for name, count in found.counts.items():
            parts = f"{count.newest} newest key, {count.older} older"
            self.stdout.write(f"{name}: {parts}, {count.unreadable} unreadable")
        self.stdout.write(f"{found.rewritten} rows were written.")
