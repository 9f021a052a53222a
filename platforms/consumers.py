"""The web chat's socket: frames in, services called, frames out."""

import asyncio
import contextlib
import logging
from functools import partial
from typing import Any
from uuid import UUID

from channels.generic.websocket import AsyncWebsocketConsumer

from langbot.lib.db import DATABASE_FAILURES, DatabaseExecutor
from platforms.chat import cards, visits
from platforms.chat.frames import (
    Answer,
    Auth,
    FrameError,
    Interrupt,
    Message,
    Regenerate,
    Withdraw,
    read_frame,
    write_frame,
)
from platforms.chat.visits import ChatError, Turn, Visit
from runners.choices import ENDS, EventType
from runners.errors import AdmissionError
from runners.live import follow

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 2.0
_PAUSE_SECONDS = 0.5
_WATCH_SECONDS = 2.0
_OF_CARDS = frozenset({EventType.ACTION_REQUESTED, EventType.ACTION_RESOLVED})
database = DatabaseExecutor("chat")


class ChatConsumer(AsyncWebsocketConsumer):
    """One open chat page."""

    slug: str
    visit: Visit | None = None

    async def connect(self) -> None:
        self.slug = self.scope["url_route"]["kwargs"]["slug"]
        self._follower: asyncio.Task[None] | None = None
        self._cards: list[dict[str, Any]] = []  # as the client has them
        self._look_at_cards = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._look_again = False
        self._read: dict[str, int] = {}  # run id -> last seq the client has
        self._position = 0  # key of the last run that was streamed to its end
        if await database(visits.find_bot, self.slug) is None:
            await self.close()
        else:
            await self.accept()

    async def disconnect(self, code: int) -> None:
        tasks = [task for task in (self._follower, self._watcher) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        about: dict[str, str] = {}  # what of the page an error is about
        try:
            frame = read_frame(text_data)
            if isinstance(frame, Message):
                about = {"client_key": frame.client_key}
                await self._say(frame)
            elif isinstance(frame, Auth):
                await self._open(frame)
            elif isinstance(frame, Interrupt):
                await self._stop()
            elif isinstance(frame, Withdraw):
                await self._withdraw(frame)
            elif isinstance(frame, Answer):
                about = {"action_id": str(frame.action_id)}
                await self._answer(frame)
            elif isinstance(frame, Regenerate):
                await self._regenerate(frame)
        except (FrameError, ChatError, AdmissionError) as error:
            await self._fail(error.code, str(error), **about)
        except DATABASE_FAILURES as error:
            logger.warning("chat frame failed: %s", type(error).__name__)
            await self._fail("unavailable", "the database does not answer", **about)

    async def _open(self, frame: Auth) -> None:
        """Send the history of the token's visitor; a bad token makes a new one."""
        try:
            visit = await database(visits.open_visit, self.slug, frame.token)
        except ChatError as error:
            if error.code != "invalid_token":
                raise
            await self._fail(error.code, str(error))
            visit = await database(visits.open_visit, self.slug)
        if self.visit is not None and visit.visitor != self.visit.visitor:
            raise ChatError("invalid_frame", "this socket has a visitor already")
        if frame.resume_from is not None:
            self._read[frame.resume_from.run_id] = frame.resume_from.after
        if self.visit is None:
            self._position = await database(visits.position, visit)
        self.visit = visit
        await self._tell("auth_ok", token=visit.token())
        await self._tell("history", **await database(visits.history, visit))
        self._follow()
        self._watch()

    async def _say(self, frame: Message) -> None:
        if self.visit is None:
            await self._open(Auth(type="auth"))
        visit = self._visit()
        key = frame.client_key
        answer = await database(visits.say, visit, frame.text, key)
        await self._tell("accepted", client_key=key, **answer)
        self._follow()

    async def _regenerate(self, frame: Regenerate) -> None:
        visit = self._visit()
        named, confirmed = frame.message_id, frame.confirmed
        regenerate = partial(visits.regenerate_reply, visit, named, confirmed=confirmed)
        after = await database(regenerate)
        if after:
            await self._tell("replaces", message_id=str(named), messages=after)
            return
        history = await database(visits.history, visit)
        await self._tell("history", anew=True, **history)
        self._follow()

    async def _stop(self) -> None:
        await self._tell("stopped", stopped=await database(visits.stop, self._visit()))

    async def _withdraw(self, frame: Withdraw) -> None:
        answer = await database(visits.withdraw, self._visit(), frame.message_id)
        await self._tell("withdrawn", **answer)

    async def _answer(self, frame: Answer) -> None:
        visit = self._visit()
        try:
            await database(cards.answer, visit, frame.action_id, frame.values)
        finally:
            self._watch()
        self._follow()

    def _watch(self) -> None:
        """Make sure that the visitor sees what waits for a person, as it is."""
        self._look_at_cards.set()
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch_cards())
            self._watcher.add_done_callback(_log_defect)

    async def _watch_cards(self) -> None:
        """Tell the state of the cards, and each change while one is open.

        They are decided elsewhere too, and an answer begins a run that nobody here
        asked for.
        """
        visit, shown = self._visit(), self._cards
        while True:
            self._look_at_cards.clear()
            try:
                shown = await database(cards.cards_of, visit)
            except DATABASE_FAILURES as error:
                logger.warning("chat cards failed: %s", type(error).__name__)
            if shown != self._cards:
                self._cards = shown
                await self._tell("cards", items=shown)
                self._follow()
            if any(card["status"] == "open" for card in shown):
                with contextlib.suppress(TimeoutError):
                    looked_for = self._look_at_cards.wait()
                    await asyncio.wait_for(looked_for, _WATCH_SECONDS)
            elif not self._look_at_cards.is_set():
                return

    def _visit(self) -> Visit:
        if self.visit is None:
            raise ChatError("not_authenticated", "send auth or a message first")
        return self.visit

    def _follow(self) -> None:
        """Make sure that the visitor's current run is streamed."""
        self._look_again = True
        if self._follower is None or self._follower.done():
            self._follower = asyncio.create_task(self._follow_turns())
            self._follower.add_done_callback(_log_defect)

    async def _follow_turns(self) -> None:
        """Stream run after run until there is no newer one, queued ones as promoted."""
        visit = self._visit()
        while self._look_again:
            self._look_again = False
            try:
                turn = await database(visits.next_turn, visit, self._position)
                if turn is not None:
                    self._look_again = True
                    await self._follow_turn(visit, turn)
                    self._position = turn.key
            except DATABASE_FAILURES as error:
                logger.warning("chat stream failed: %s", type(error).__name__)
                self._look_again = True
                await asyncio.sleep(_RETRY_SECONDS)

    async def _follow_turn(self, visit: Visit, turn: Turn) -> None:
        run_id = str(turn.run_id)
        await self._tell("turn", run_id=run_id, client_key=turn.client_key)
        while not await self._follow_run(turn.run_id):
            # A stream that could not keep up ends early: go on where it stopped.
            if not await database(visits.is_live, turn.key):
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        self._read.pop(run_id, None)
        ended = await database(visits.ended_turn, visit, turn)
        await self._tell("session_complete", **ended)

    async def _follow_run(self, run_id: UUID) -> bool:
        """Stream a run's events after the last one sent; whether its end was seen."""
        after = self._read.get(str(run_id), 0)
        async with contextlib.aclosing(follow(run_id, after)) as events:
            async for event in events:
                if event is None:
                    await self._tell("heartbeat")
                    continue
                self._read[str(run_id)] = event["seq"]
                if event["type"] in _OF_CARDS:
                    self._watch()
                shown = visits.shown_event(event)
                if shown is not None:
                    await self._tell("agent_event", **shown)
                if event["type"] in ENDS:
                    return True
        return False

    async def _tell(self, kind: str, **members: Any) -> None:
        await self.send(text_data=write_frame(kind, **members))

    async def _fail(self, code: str, detail: str, **about: str) -> None:
        await self._tell("error", code=code, detail=detail, **about)


def _log_defect(task: asyncio.Task[None]) -> None:
    """Say why a stream stopped; nobody awaits its task until the page closes."""
    if not task.cancelled() and task.exception() is not None:
        logger.error("chat stream stopped", exc_info=task.exception())
