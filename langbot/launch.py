"""Becomes the supervisor. Never loads Django: `manage.py runlangbot` starts here."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from langbot.env import Environment, read_environment

PROJECT = Path(__file__).resolve().parent.parent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `runlangbot`."""
    parser.add_argument("--host", help="default: HOST or 127.0.0.1")
    parser.add_argument("--port", type=int, help="default: PORT or 8000")


def main(argv: Sequence[str]) -> None:
    """Replace this process by the supervisor; exits with 2 for wrong settings."""
    parser = argparse.ArgumentParser(
        prog="manage.py runlangbot",
        description="Starts Valkey, web, worker and plugins, and keeps them running.",
    )
    add_arguments(parser)
    options = parser.parse_args(argv)
    try:
        environment = read_environment()
    except ImproperlyConfigured as error:
        parser.exit(2, f"runlangbot: {error}\n")
    become_supervisor(environment, options.host, options.port)


def become_supervisor(
    environment: Environment, host: str | None, port: int | None
) -> None:
    """Replace this process by the supervisor, which is the standard library only."""
    host = host or environment.host
    port = environment.port if port is None else port
    command = [sys.executable, "-m", "langbot.supervisor"]
    command += ["--data-dir", str(environment.data_dir)]
    command += ["--host", host, "--port", str(port)]
    command += ["--manage", str(PROJECT / "manage.py")]
    if not environment.redis_url:
        command.append("--bundled-valkey")
    # Links and the plugin process need the port that was chosen here.
    os.environ.update(HOST=host, PORT=str(port))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")])
    )
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - our own command line
