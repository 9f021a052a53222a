"""Says something to a bot, through the same path as everybody."""

import getpass
import json
from contextlib import aclosing
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync, sync_to_async
from django.core.management.base import BaseCommand, CommandError, CommandParser

from langbot.lib.ids import uuid7
from platforms.adapters.base import PlatformEvent
from platforms.asking import link_of, text_of
from platforms.intake import receive
from platforms.models import Bot
from runners.answers import answer_for, reply_of, run_of
from runners.choices import EventType
from runners.errors import AdmissionError
from runners.models import PendingAction
from runners.replies import ReplyText, follow_to_end


class Command(BaseCommand):
    help = "Sends a message to a bot; with --follow, prints the reply as it comes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("bot", metavar="BOT", help="its slug")
        parser.add_argument("text", help="what you say")
        parser.add_argument(
            "--conversation", default="command-line", metavar="C", help="its key"
        )
        parser.add_argument(
            "--follow", action="store_true", help="print the reply, not the answer"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        bot = _find_bot(options["bot"])
        try:
            admitted = receive(bot, _event(options["conversation"], options["text"]))
        except AdmissionError as error:
            raise CommandError(str(error)) from None
        answer = answer_for(admitted)
        if answer["status"] == "ignored":
            raise CommandError(f"Nobody answers: {answer['reason']}.")
        if options["follow"]:
            self._follow(answer)
        else:
            self.stdout.write(json.dumps(answer, indent=2))

    def _follow(self, answer: dict[str, Any]) -> None:
        run_id = async_to_sync(self._print)(answer)
        if run_id is None:
            raise CommandError("The message was cancelled while it waited.")
        error = (reply_of(run_id) or {}).get("error")
        if error:
            raise CommandError(f"{error['code']}: {error['message']}")

    async def _print(self, answer: dict[str, Any]) -> UUID | None:
        run_id, reply = await run_of(answer), ReplyText()
        if run_id is None:
            return None
        async with aclosing(follow_to_end(run_id)) as batches:
            async for batch in batches:
                for event in batch:
                    self.stdout.write(reply.add(event.document), ending="")
                    if event.document["type"] == EventType.ACTION_REQUESTED:
                        for text in await sync_to_async(_asked)(run_id):
                            self.stdout.write(f"\n{text}")
                self.stdout.flush()
        self.stdout.write("")  # the end of the line
        return run_id


def _asked(run_id: UUID) -> list[str]:
    """Return what the run asks people now, with the link at which they decide."""
    actions = PendingAction.objects.open().filter(run__public_id=run_id)
    return [
        f"{text_of(one)}\n{link_of(one.public_id, one.expires_at)}"
        for one in actions.select_related("agent").order_by("pk")
    ]


def _find_bot(slug: str) -> Bot:
    bots = Bot.objects.select_related("workspace").filter(archived_at=None)
    bot = bots.filter(slug=slug).first()
    if bot is None:
        known = ", ".join(bots.values_list("slug", flat=True)) or "none"
        raise CommandError(f"There is no bot {slug}; there are: {known}.")
    if not bot.enabled:
        raise CommandError(f"The bot {slug} is disabled.")
    return bot


def _event(conversation: str, text: str) -> PlatformEvent:
    name = getpass.getuser()
    return PlatformEvent(
        event_id=str(uuid7()),
        conversation=conversation,
        actor={"type": "user", "id": f"command:{name}", "name": name},
        input={"text": text},
    )
