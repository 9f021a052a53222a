"""Starts everything: what `make run` calls."""

import os
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from langbot.env import read_environment


class Command(BaseCommand):
    help = "Starts Valkey, web, worker and plugins, and keeps them running."
    # Checks that need the database come with `firstrun`, after it migrated.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", help="default: HOST or 127.0.0.1")
        parser.add_argument("--port", type=int, help="default: PORT or 8000")

    def handle(self, *_args: Any, **options: Any) -> None:
        environment = read_environment()
        host = options["host"] or environment.host
        port = options["port"] if options["port"] is not None else environment.port
        os.environ.update(HOST=host, PORT=str(port))
        command = [sys.executable, "-m", "langbot.supervisor"]
        command += ["--data-dir", str(settings.LANGBOT["DATA_DIR"])]
        command += ["--host", host, "--port", str(port)]
        command += ["--manage", str(Path(sys.argv[0]).resolve())]
        if not environment.redis_url:
            command.append("--bundled-valkey")
        os.environ["PYTHONPATH"] = python_path()
        sys.stdout.flush()
        # The supervisor must not carry Django's 60 MB for as long as it runs.
        os.execv(sys.executable, command)  # noqa: S606 - our own command line


def python_path() -> str:
    """Return PYTHONPATH with the project first, wherever children start."""
    given = os.environ.get("PYTHONPATH", "")
    project = str(Path(settings.BASE_DIR))
    return os.pathsep.join(filter(None, [project, given]))
