"""What workers and web nodes tell each other over Redis streams.

Worker to node (`node:<n>:in`): `k` kind, `c` connection, `r` run, `f` payload, or `x`
the key of a payload over 256 KiB, `a` action, `s` life, `q` call, `n` number, `z` its
bytes in the bound of `inbox`. Node to worker (`in:<run>`): `f`, frames as the plugin
sent them, or `x` likewise. An exclamation mark begins what the node itself says among
them: `{"lost": reason}`, the plugin's socket is gone; `{"file": key, "content":
base64}`, a file that the next frame names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic_core import to_json
from redis.asyncio import Redis

from langbot.lib.conf import limits
from langbot.lib.exchange import Commands
from langbot.lib.ids import uuid7
from langbot.lib.redis import claim_check

CLAIM_CHECK_SECONDS = 600
OWN = "!"  # how what the node itself says begins; no frame does
SEPARATOR = "\x1e"  # of frames in an entry: no valid JSON text has it (RFC 7464)
INBOX_SECONDS = 60  # of a node's stream; its heartbeat renews it


class Kind(StrEnum):
    RUN = "run"
    """Start a run's invocation `n`: `f` is the request's data, `a` its action."""
    FRAME = "frame"
    """Send `f` as it is: the answer to a host call, or chunk `n` of streaming `q`."""
    CANCEL = "cancel"
    """Stop invocation `n` of the run in the plugin and forget it."""


@dataclass(slots=True)
class NodeMessage:
    kind: Kind
    connection: UUID
    run: UUID | None = None
    payload: bytes = b""
    action: str = ""
    life_seconds: int = 0
    call: int = 0
    number: int = 0

    def fields(self, commands: Commands) -> dict[bytes, bytes]:
        """Return the stream entry; one of `commands` puts a large payload aside."""
        entry = {b"k": self.kind.encode(), b"c": self.connection.bytes}
        if self.run is not None:
            entry[b"r"] = self.run.bytes
        if self.action:
            entry[b"a"] = self.action.encode()
        if self.life_seconds:
            entry[b"s"] = str(self.life_seconds).encode()
        if self.number:
            entry[b"q"] = str(self.call).encode()
            entry[b"n"] = str(self.number).encode()
        if len(self.payload) > limits().claim_check_bytes:
            key = claim_check(uuid7())
            commands.append(("SET", key, self.payload, "EX", CLAIM_CHECK_SECONDS))
            entry[b"x"] = key.encode()
        else:
            entry[b"f"] = self.payload
        return entry


async def read_node_message(
    client: Redis, entry: dict[bytes, bytes]
) -> NodeMessage | None:
    """Rebuild a message; None when its payload has expired."""
    payload = await payload_of(client, entry)
    if payload is None:
        return None
    return NodeMessage(
        Kind(entry[b"k"].decode()),
        UUID(bytes=entry[b"c"]),
        UUID(bytes=entry[b"r"]) if b"r" in entry else None,
        payload,
        entry.get(b"a", b"").decode(),
        int(entry.get(b"s", b"0")),
        int(entry.get(b"q", b"0")),
        int(entry.get(b"n", b"0")),
    )


def own_frame(said: dict[str, str]) -> bytes:
    """Return what the node itself says to the worker of a run, among its frames."""
    return OWN.encode() + to_json(said)


def join_frames(frames: Sequence[bytes]) -> bytes:
    """Return one payload of frames, none of which has the separator in it."""
    return SEPARATOR.encode().join(frames)


def split_frames(payload: bytes) -> list[str]:
    """Return the frames of a payload in their order."""
    return payload.decode().split(SEPARATOR)


async def payload_of(client: Redis, entry: dict[bytes, bytes]) -> bytes | None:
    """Return the payload of an entry; whoever has applied it deletes a claim check."""
    if b"x" not in entry:
        return entry.get(b"f", b"")
    payload: Any = await client.get(entry[b"x"].decode())
    return payload if isinstance(payload, bytes) else None
