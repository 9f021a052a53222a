"""How commands name a person."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser

from langbot.core.access import DEFAULT_WORKSPACE, actor_of_user
from langbot.core.management.workspaces import find_workspace
from platforms.models import Bot
from runners.people.persons import Person


def add_person(parser: CommandParser) -> None:
    """Add the arguments of which `person_of` makes a person."""
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", metavar="NAME", help="somebody with an account here")
    who.add_argument("--actor", metavar="ID", help="how the platform names the person")
    parser.add_argument("--bot", metavar="SLUG", help="the bot that knows the actor")
    parser.add_argument(
        "--workspace",
        metavar="SLUG",
        default=DEFAULT_WORKSPACE,
        help="of an actor of the API, without a bot; default: %(default)s",
    )


def person_of(options: dict[str, Any]) -> Person:
    """Return the person that the arguments name; raises CommandError."""
    if options["user"]:
        return _account(options["user"])
    if options["bot"]:
        bots = Bot.objects.select_related("workspace").defer("secrets")
        bot = bots.filter(slug=options["bot"]).first()
        if bot is None:
            raise CommandError(f"There is no bot {options['bot']}.")
        return Person(options["actor"], bot.workspace, bot.public_id)
    return Person(options["actor"], find_workspace(options["workspace"]))


def _account(name: str) -> Person:
    users = get_user_model()
    user = users._default_manager.filter(**{users.USERNAME_FIELD: name}).first()
    if user is None:
        raise CommandError(f"There is no user {name}.")
    return Person(str(actor_of_user(user)["id"]), username=name)
