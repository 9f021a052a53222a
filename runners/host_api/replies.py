"""`event_reply` and reply_stream: what a runner says before its run ends (wire 6)."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal
from uuid import UUID

from django.db import DatabaseError, InterfaceError
from pydantic import Field

from artifacts.made import MadeFile, insert_rows, reference_of, store_contents
from artifacts.made import with_content as content_fields
from artifacts.models import Artifact
from runners.choices import EventType
from runners.host_api.approvals import check_allowed
from runners.host_api.calls import CallData, HostCall, read_data
from runners.host_api.chains import Chain, ChainFile, read_chain
from runners.host_api.pace import Pace
from runners.ledger import saying
from runners.ledger.fence import NewEvent
from runners.ledger.journal import once
from runners.ledger.saying import Place, Saying
from runners.platform_tools import REPLY_CHARACTERS, REPLY_TOOL
from runners.protocol.errors import ErrorCode, ProtocolError

logger = logging.getLogger(__name__)
_pace = Pace()


class Reply(CallData):
    """Parameters of the tool `event_reply`."""

    text: str = ""
    message: list[Any] = []
    quote_origin: bool = False


class Streamed(CallData):
    stream_id: str = Field(min_length=1, max_length=100)
    operation: Literal["update", "finish", "abort"]
    text: str = ""


@dataclass(slots=True)
class Outgoing:
    """A message with its files, some of which have no rows yet."""

    key: str
    chain: Chain
    references: list[dict[str, Any]] = field(default_factory=list)
    payload: dict[str, Any] = field(default_factory=dict)
    place: Callable[[], Place] | None = None
    """Finds where it goes, or opens that conversation, in the same transaction."""
    made: list[MadeFile] = field(default_factory=list)

    def store(self, call: HostCall) -> None:
        """Write the bytes of its files: no transaction waits for a disk."""
        self.made = [_made(call, file) for file in self.chain.files]
        store_contents(self.made)

    def send(self, call: HostCall) -> dict[str, Any]:
        """Write it, in the transaction of the journal; its files are stored."""
        made = self.made
        insert_rows(made)
        own = [reference_of(file.described()) for file in made]
        for component in self.chain.components:
            if "file_index" in component:
                file = made[component.pop("file_index")]
                component["artifact_id"] = str(file.public_id)
        if self.chain.components:
            self.payload["message"] = self.chain.components
        said = Saying(
            key=self.key,
            text=self.chain.text,
            artifacts=[*self.references, *own],
            payload=self.payload,
        )
        place = self.place() if self.place is not None else None
        answer = saying.say(call.facts.pk, said, place)
        return {"result": answer, "artifacts": said.artifacts}


async def reply(
    call: HostCall, parameters: dict[str, Any], file_ids: Sequence[str] = ()
) -> dict[str, Any]:
    """Answer the event at once; returns `{"result": {"message_id", …}}`."""
    data = read_data(parameters, Reply)
    outgoing = await prepared(call, data, file_ids)
    if data.quote_origin:
        outgoing.payload["quote_origin"] = True
    if call.handle is not None:
        await call.handle.written()  # what it thought before stands before it
    stored = await sent(call, outgoing)
    await _tell(call, _said(outgoing.chain.text, stored["artifacts"]))
    return {"result": stored["result"]}


async def sent(call: HostCall, outgoing: Outgoing) -> dict[str, Any]:
    """Send it once; returns `{"result", "artifacts"}`, for a repeat the first ones."""
    if outgoing.chain.files:
        await call.database(outgoing.store, call)
    return await call.database(once, call.key, partial(outgoing.send, call))


async def prepared(
    call: HostCall,
    data: Reply,
    file_ids: Sequence[str],
    place: Callable[[], Place] | None = None,
) -> Outgoing:
    """Return a message that can be sent; raises ProtocolError for what is none."""
    chain = read_chain(data.message)
    chain.text = data.text + chain.text
    check_text(chain.text)
    if (chain.files or file_ids) and not call.facts.access.artifacts:
        message = "this run may not use artifacts"
        raise ProtocolError(ErrorCode.PERMISSION_DENIED, message)
    references = await call.files(file_ids) if file_ids else []
    if not chain.text and not chain.components and not references:
        message = "a message needs a text, components or files"
        raise ProtocolError(ErrorCode.INVALID_REQUEST, message)
    key = f"call:{call.key.invocation}:{call.key.plugin_seq_id}"
    return Outgoing(key, chain, references, place=place)


async def reply_stream(call: HostCall) -> dict[str, Any]:
    """Let a reply grow, finish or abort it; `text` is always all of it."""
    data = call.read(Streamed)
    check_text(data.text)
    check_allowed(call, REPLY_TOOL)
    key = f"stream:{data.stream_id}"
    if data.operation == "update":
        return {"result": await _update(call, key, data.text)}
    _pace.forget((call.facts.public_id, key))
    stored = await call.database(once, call.key, partial(_close, call, key, data))
    if stored.get("said"):
        await _tell(call, _said(stored["said"], []))
    return {"result": stored["result"]}


async def _update(call: HostCall, key: str, text: str) -> dict[str, Any]:
    """Show the text where messages can be edited; elsewhere it waits for the end.

    Of many updates a second most write nothing: `later`, as when people saw one a
    moment ago.
    """
    if not call.facts.snapshot.get("can_edit") or not text:
        return {"status": "buffered"}
    if not _pace.is_due((call.facts.public_id, key)):
        return {"status": "later"}
    show = partial(saying.show, call.facts.pk, key, text)
    return await call.database(once, call.key, show)


async def _tell(call: HostCall, event: NewEvent) -> None:
    """Add the event of what was said; without it the reply went out all the same."""
    try:
        await call.tell(event)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("a reply has no event in its run: %s", error)


def _close(call: HostCall, key: str, data: Streamed) -> dict[str, Any]:
    run = call.facts.pk
    is_aborted = data.operation == "abort"
    text = saying.shown_text(run, key) if is_aborted else data.text
    if not text:
        return {"result": {"status": "aborted" if is_aborted else "empty"}}
    said = Saying(key=key, text=text, is_incomplete=is_aborted)
    return {"result": saying.finish(run, said), "said": text}


def check_text(text: str) -> None:
    """Raise `too_large` for more than 200,000 characters."""
    if len(text) > REPLY_CHARACTERS:
        message = f"text: at most {REPLY_CHARACTERS} characters"
        raise ProtocolError(ErrorCode.TOO_LARGE, message)


def _said(text: str, artifacts: list[dict[str, Any]]) -> NewEvent:
    data: dict[str, Any] = {
        "message": {"role": "assistant", "content": text},
        "text": text,
        "delivered": True,
    }
    if artifacts:
        data["artifacts"] = artifacts
    return NewEvent(EventType.MESSAGE_COMPLETED, data)


def _made(call: HostCall, file: ChainFile) -> MadeFile:
    facts = call.facts
    return MadeFile(
        workspace_id=facts.workspace_id,
        conversation_id=UUID(facts.conversation_public_id),
        run_id=facts.public_id,
        type=file.type,
        name=file.name,
        source=Artifact.Source.RUNNER,
        **content_fields(file.content, file.mime_type),
    )
