"""Makes an API token and prints it once."""

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from langbot.core.audit import command_author
from langbot.core.management.workspaces import find_workspace
from langbot.core.tokens import SCOPES, issue_api_token


class Command(BaseCommand):
    help = "Makes an API token of a user and prints it once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER", help="user name")
        parser.add_argument("--workspace", default="default", help="its slug")
        parser.add_argument("--label", default="command line")
        parser.add_argument(
            "--scope", nargs="+", choices=SCOPES, default=[], help="default: all"
        )
        parser.add_argument("--days", type=int, help="days until it expires")

    def handle(self, *_args: Any, **options: Any) -> None:
        users = get_user_model()._default_manager
        name = {get_user_model().USERNAME_FIELD: options["user"]}
        user = users.filter(**name).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']}.")
        workspace = find_workspace(options["workspace"])
        days = options["days"]
        if days is not None and days < 1:
            raise CommandError("--days must be 1 or more.")
        _, token = issue_api_token(
            user,
            workspace,
            options["label"],
            author=command_author("createapitoken"),
            scopes=options["scope"],
            expires_at=timezone.now() + timedelta(days=days) if days else None,
        )
        self.stdout.write(token)
