"""Installs a plugin from a package file, or upgrades one."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.packages.archive import PackageError
from agents.packages.guard_paths import PathRefusedError
from agents.packages.services import install_package
from langbot.core.audit import command_author
from langbot.core.management.workspaces import add_places, chosen_place


class Command(BaseCommand):
    help = "Installs a plugin from a file of `lbp build`, or upgrades it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        add_places(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        workspace = chosen_place(options)
        try:
            with options["file"].open("rb") as file:
                version = install_package(
                    file, workspace, author=command_author("installplugin")
                )
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}") from None
        except (PackageError, PathRefusedError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{version} is uploaded; runpackages builds and starts it.")
