"""The text of a reply as it comes, for readers that want nothing else."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from runners.choices import TERMINAL, EventType
from runners.live import follow_batches
from runners.live_hub import LiveEvent, db
from runners.models import AgentRun


@dataclass(slots=True)
class ReplyText:
    """Gathers the new text of each event; messages are set apart by an empty line."""

    text: str = ""
    _open: str = field(default="")  # of the message that is being said

    def add(self, event: dict[str, Any]) -> str:
        """Return what this event adds to the reply."""
        if event["type"] == EventType.MESSAGE_DELTA:
            return self._append(str(event["data"].get("text") or ""))
        if event["type"] != EventType.MESSAGE_COMPLETED:
            return ""
        said = str(event["data"].get("text") or "")
        # What was streamed cannot be taken back where the whole differs.
        rest = said[len(self._open) :] if said.startswith(self._open) else ""
        new = self._append(rest)
        self._open = ""
        return new

    def _append(self, part: str) -> str:
        if not part:
            return ""
        new = f"\n\n{part}" if self.text and not self._open else part
        self._open += part
        self.text += new
        return new


async def follow_to_end(run_id: UUID) -> AsyncGenerator[list[LiveEvent], None]:
    """Yield the run's events; an empty list when nothing came for 15 s.

    Goes on where `follow_batches` gives up a slow reader. Ends after the terminal
    event, or when the run is gone.
    """
    after, ended = 0, False
    while not ended:
        async with aclosing(follow_batches(run_id, after)) as batches:
            async for batch in batches:
                after = batch[-1].seq if batch else after
                ended = bool(batch) and batch[-1].ends
                yield batch
        ended = ended or await db(_is_over, run_id)


def _is_over(run_id: UUID) -> bool:
    runs = AgentRun.objects.filter(public_id=run_id)
    status = runs.values_list("status", flat=True).first()
    return status in {None, *TERMINAL}  # None: retention took it
