"""Calls within runs that remote runtimes hold, answered where their socket is.

No worker carries such a run. Its holder claimed it over this connection, or renewed
the claim on it (`runners.runtimes.leases`), and may call what a carried run's plugin
may: the rights are those frozen at the first claim, asked by the same table
(`runners.host_api.authorization`). What would wait is refused, because a claim cannot
be parked: a person's decision (`tool_denied`) and a client's tool
(`client.unavailable`).
"""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from agents.registry.connections import Registered
from langbot.lib.group_commit import WritingExecutor
from langbot.lib.models import lock_rows
from runners.choices import TERMINAL
from runners.engine.snapshot import RunFacts, load_runs, thaw
from runners.host_api.authorization import (
    check_deadline,
    check_pace,
    check_rights,
    run_bucket,
)
from runners.host_api.calls import HostCall
from runners.host_api.dispatch import HANDLERS, STREAMS
from runners.host_api.run_handle import was_told
from runners.ledger.fence import NewEvent
from runners.ledger.journal import CallKey
from runners.ledger.steering import add_event
from runners.models import AgentRun
from runners.protocol.actions import Action
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import Request, build_end, build_response
from runners.runtimes.callers import caller_of
from runners.runtimes.leases import holding, lost
from runners.runtimes.replies import log_of

# A holder does these as the control plane does: its results come by calls.
BY_CONTROL: Final = frozenset(
    {Action.RUN_CANCEL, Action.RUN_APPEND_RESULT, Action.RUN_FINALIZE}
)
_CLAIMED_AT_MOST: Final = 2000  # of one connection; a worker's loop carries 1,000
_NUMBER_BYTES: Final = 7  # fit the journal's column

Send = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class _Claim:
    facts: RunFacts
    invocation: int
    token: int


@dataclass(frozen=True, slots=True)
class RemoteCall(HostCall):
    """A call within a run that nobody has in memory: its ledger is the table."""

    async def tell(self, event: NewEvent) -> None:
        """Add an event to the run's ledger, once however often the call comes."""
        await self.database(_tell, self.key, event)

    async def files(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return references to files of the run; raises `not_found` for others."""
        return await self.database(_files, self.facts.pk, names)


def note_claim(connection: Registered, action: str, run_id: str) -> None:
    """Remember which runs a connection holds, after a call that changed it."""
    claimed = connection.claimed
    if action in {Action.RUN_CLAIM, Action.RUN_RENEW_CLAIM}:
        claimed.setdefault(UUID(run_id), run_bucket())
        if len(claimed) > _CLAIMED_AT_MOST:
            del claimed[next(iter(claimed))]
    elif action in {Action.RUN_RELEASE_CLAIM, Action.RUN_FINALIZE}:
        claimed.pop(UUID(run_id), None)


async def answer_within_run(
    connection: Registered, request: Request, database: WritingExecutor, send: Send
) -> bytes:
    """Answer a call of a claimed run; returns the last frame, chunks go to `send`.

    Raises ProtocolError: `permission_denied` without the control plane's right,
    `run.not_active` for a run that has ended, `conflict` for one that is not held.
    """
    claim = await database(_held, connection, str(request.data["run_id"]))
    bucket = connection.claimed.get(claim.facts.public_id)
    if bucket is not None:
        check_pace(bucket)
    check_deadline(claim.facts.deadline_at)
    check_rights(claim.facts, request.action, request.data)
    number = _number(connection, request.seq_id)
    key = CallKey(claim.facts.pk, claim.invocation, number, request.action)
    call = RemoteCall(claim.facts, request.data, database, key, token=claim.token)
    if request.action in STREAMS:
        async with aclosing(STREAMS[request.action](call)) as chunks:
            async for chunk in chunks:
                send(build_response(request.seq_id, chunk))
        return build_end(request.seq_id)
    return build_response(request.seq_id, await HANDLERS[request.action](call))


def _held(connection: Registered, run_id: str) -> _Claim:
    caller = caller_of(connection.connection_id, connection.plugin)
    found = caller.run(run_id)
    held = holding(caller, found).filter(claim_lease_expires_at__gt=Now())
    if not held.exists():
        connection.claimed.pop(found.public_id, None)
        if found.status in TERMINAL:
            message = "the run has ended"
            raise ProtocolError(ErrorCode.RUN_NOT_ACTIVE, message)
        raise lost()
    (run,) = load_runs([found.pk])
    return _Claim(thaw(run), run.invocation, run.fencing_token)


def _number(connection: Registered, seq_id: int) -> int:
    """Return the journal's number of a request.

    The next connection of a holder counts anew: its numbers mean other calls.
    """
    seen = f"{connection.connection_id}:{seq_id}".encode()
    return int.from_bytes(blake2b(seen, digest_size=_NUMBER_BYTES).digest())


def _tell(key: CallKey, event: NewEvent) -> None:
    event.data["call"] = key.plugin_seq_id
    with transaction.atomic():
        runs = lock_rows(AgentRun.objects.filter(pk=key.run_id).defer("snapshot"))
        for run in runs:
            if not was_told(key, event.type):
                add_event(run, event)


def _files(run_id: int, names: Sequence[str]) -> list[dict[str, Any]]:
    (run,) = load_runs([run_id])
    references, unknown = log_of(run).files.named(names)
    if unknown:
        message = f"{unknown[0][:100]} is no file of this run"
        raise ProtocolError(ErrorCode.NOT_FOUND, message)
    return references
