"""Removes a plugin that was installed from a package file."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.packages.services import remove_package
from agents.registry.models import Plugin
from langbot.core.audit import command_author


class Command(BaseCommand):
    help = "Ends a packaged plugin and removes its files; what names it stays."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("plugin", metavar="AUTHOR/NAME")

    def handle(self, *_args: Any, **options: Any) -> None:
        name = options["plugin"]
        plugin = Plugin.objects.filter(name=name).first()
        author = command_author("removeplugin")
        if plugin is None or not remove_package(plugin, author=author):
            raise CommandError(f"There is no package {name}.")
        self.stdout.write(f"{name} is being removed by runpackages.")
