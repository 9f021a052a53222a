"""Installs a plugin from a package file, or upgrades one."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.packages.archive import PackageError
from agents.packages.guard_paths import PathRefusedError
from agents.packages.services import install_package
from langbot.core.audit import command_author
from langbot.core.management.commands.createapitoken import find_workspace


class Command(BaseCommand):
    help = "Installs a plugin from a file of `lbp build`, or upgrades it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        place = parser.add_mutually_exclusive_group()
        place.add_argument("--workspace", default="default", help="its slug")
        place.add_argument(
            "--all-workspaces", action="store_true", help="serve every workspace"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        everywhere = options["all_workspaces"]
        workspace = None if everywhere else find_workspace(options["workspace"])
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
