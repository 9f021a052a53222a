"""What a runner sees of its run: typed, read-only, with the host calls beside it."""

import time
from dataclasses import dataclass
from typing import Any

from runners.protocol.context import (
    Actor,
    ConversationContext,
    Delivery,
    Event,
    InteractionSubmission,
    Resources,
    RunInput,
    RunnerContext,
    Runtime,
    StateSnapshot,
)
from runners.protocol.pages import TranscriptItem
from runners.protocol.pruning import prune_orphan_tool_calls
from runners.sdk.api import HostApi

MAX_HISTORY_PAGE = 100  # LB-73


@dataclass(frozen=True, slots=True)
class RunContext:
    """One invocation of a runner. `raw` is everything the host sent."""

    raw: RunnerContext
    api: HostApi

    @property
    def run_id(self) -> str:
        return self.raw.run_id

    @property
    def event(self) -> Event:
        return self.raw.event

    @property
    def input(self) -> RunInput:
        return self.raw.input

    @property
    def text(self) -> str:
        """The words of the input; empty for events that carry none."""
        if self.raw.input.text:
            return self.raw.input.text
        return "".join(element.text or "" for element in self.raw.input.contents)

    @property
    def submission(self) -> InteractionSubmission | None:
        """A person's answer to what an earlier run asked by `results.interaction`."""
        return self.raw.input.interaction

    @property
    def resumed(self) -> list[dict[str, Any]]:
        """The decisions that this run was paused for; empty when it has just begun.

        Each has `tool_call_id`, `tool_name`, `arguments`, `decision`, `reason` and
        `result` or `error`. Only runners with the capability `resume` get any.
        """
        resume = self.raw.metadata.get("resume") or {}
        return list(resume.get("actions") or [])

    @property
    def metadata(self) -> dict[str, Any]:
        """What the sender wrote on the message or event, beside what was said."""
        return {
            name: value for name, value in self.raw.metadata.items() if name != "resume"
        }

    @property
    def config(self) -> dict[str, Any]:
        return self.raw.config

    @property
    def state(self) -> StateSnapshot:
        """State as it was when the run started; `api.state_get` reads it anew."""
        return self.raw.state

    @property
    def conversation(self) -> ConversationContext:
        return self.raw.conversation or ConversationContext()

    @property
    def actor(self) -> Actor | None:
        return self.raw.actor

    @property
    def delivery(self) -> Delivery:
        return self.raw.delivery

    @property
    def resources(self) -> Resources:
        return self.raw.resources

    @property
    def runtime(self) -> Runtime:
        return self.raw.runtime

    @property
    def can_stream(self) -> bool:
        """Whether somebody can see a half-finished answer."""
        allowed = self.runtime.metadata.get("streaming_supported") is not False
        return allowed and self.delivery.supports_streaming

    @property
    def seconds_left(self) -> float | None:
        """Time to the deadline, never below 0; None without one."""
        if self.runtime.deadline_at is None:
            return None
        return max(0.0, self.runtime.deadline_at - time.time())

    async def prompt(self) -> list[dict[str, Any]]:
        """Return the agent's prompt messages: the host's, else the config's."""
        if self.raw.context.available_apis.prompt_get:
            return await self.api.get_prompt()
        prompt = self.config.get("prompt")
        if isinstance(prompt, str):
            return [{"role": "system", "content": prompt}]
        return [item for item in prompt or [] if isinstance(item, dict)]

    async def history(self, limit: int = 50) -> list[TranscriptItem]:
        """Return what was said before the current event, oldest first.

        Tool calls without all of their answers are left out: models refuse them.
        At most `limit` items, and none when the host offers no history.
        """
        if limit <= 0 or not self.raw.context.available_apis.history_page:
            return []
        items: list[TranscriptItem] = []
        cursor = None
        while len(items) < limit:
            # One more, because the current event's own message is left out.
            size = min(limit - len(items) + 1, MAX_HISTORY_PAGE)
            page = await self.api.history_page(before_cursor=cursor, limit=size)
            current = self.event.event_id
            items += [item for item in page.items if item.event_id != current]
            cursor = page.next_cursor
            if not page.has_more or not page.items or cursor is None:
                break
        return _without_orphans(items[:limit][::-1])


def _without_orphans(items: list[TranscriptItem]) -> list[TranscriptItem]:
    messages = [
        {**(item.content_json or {"role": item.role}), "": item} for item in items
    ]
    kept, _ = prune_orphan_tool_calls(messages)
    return [message[""] for message in kept]
