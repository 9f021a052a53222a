#!/usr/bin/env python
"""Django's command line, and the plugin process that must not load Django."""

import os
import sys


def main() -> None:
    """Run one management command."""
    if sys.argv[1:2] == ["runplugins"]:
        # The runner host is a plugin process like any other: no Django, no database.
        from runners.sdk.host import main as run_plugins

        sys.exit(run_plugins(sys.argv[2:]))
    if sys.argv[1:2] == ["runlangbot"]:
        # The supervisor lives as long as the host: it stays small without Django.
        from langbot.launch import main as run_langbot

        run_langbot(sys.argv[2:])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "langbot.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
