"""Runs the plugins that were installed from package files."""

import signal
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.packages.guard_paths import PathRefusedError
from agents.packages.supervisor import AlreadyRunningError, PackageSupervisor
from langbot.lib.conf import conf


class Command(BaseCommand):
    help = "Builds and runs the installed plugin packages, and keeps them running."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--url",
            default="",
            help="the plugin socket (ws://…); default: that of the public address",
        )
        parser.add_argument(
            "--while-needed", action="store_true", help="end when nothing is installed"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            supervisor = PackageSupervisor(options["url"] or _public_socket())
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, supervisor.stop)
            supervisor.run(while_needed=options["while_needed"])
        except (AlreadyRunningError, PathRefusedError) as error:
            raise CommandError(str(error)) from None


def _public_socket() -> str:
    address = urlsplit(conf().public_url)
    scheme = "wss" if address.scheme == "https" else "ws"
    return f"{scheme}://{address.netloc}{address.path.rstrip('/')}/ws/plugin/"
