"""Answers host calls in the worker that owns the run, against its frozen rights."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError

from runners.engine.active import ActiveRun
from runners.host_api import (
    artifacts,
    events,
    events_runs,
    history,
    models,
    runs,
    search,
    state,
    storage,
)
from runners.host_api.calls import HostCall
from runners.ledger.journal import CallKey
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import (
    Action,
    Request,
    build_end,
    build_error,
    build_response,
)

if TYPE_CHECKING:
    from runners.engine.engine import Engine

logger = logging.getLogger(__name__)

Handler = Callable[[HostCall], Awaitable[dict[str, Any]]]
StreamHandler = Callable[[HostCall], AsyncIterator[dict[str, Any]]]

HANDLERS: dict[str, Handler] = {
    Action.STATE_GET: state.state_get,
    Action.STATE_SET: state.state_set,
    Action.STATE_DELETE: state.state_delete,
    Action.STATE_LIST: state.state_list,
    Action.HISTORY_PAGE: history.history_page,
    Action.HISTORY_SEARCH: search.history_search,
    Action.GET_PROMPT: history.get_prompt,
    Action.EVENT_GET: events.event_get,
    Action.EVENT_PAGE: events.event_page,
    Action.RUN_GET: runs.run_get,
    Action.RUN_LIST: events_runs.run_list,
    Action.RUN_EVENTS_PAGE: events_runs.run_events_page,
    Action.SET_PLUGIN_STORAGE: storage.set_plugin_storage,
    Action.GET_PLUGIN_STORAGE: storage.get_plugin_storage,
    Action.DELETE_PLUGIN_STORAGE: storage.delete_plugin_storage,
    Action.GET_PLUGIN_STORAGE_KEYS: storage.get_plugin_storage_keys,
    Action.SET_WORKSPACE_STORAGE: storage.set_workspace_storage,
    Action.GET_WORKSPACE_STORAGE: storage.get_workspace_storage,
    Action.DELETE_WORKSPACE_STORAGE: storage.delete_workspace_storage,
    Action.GET_WORKSPACE_STORAGE_KEYS: storage.get_workspace_storage_keys,
    Action.ARTIFACT_METADATA: artifacts.artifact_metadata,
    Action.ARTIFACT_READ: artifacts.artifact_read,
    Action.ARTIFACT_READ_RANGE: artifacts.artifact_read_range,
    Action.COUNT_TOKENS: models.count_tokens,
    Action.INVOKE_LLM: models.invoke_llm,
}
STREAMS: dict[str, StreamHandler] = {Action.INVOKE_LLM_STREAM: models.invoke_llm_stream}

Tenancy = tuple[UUID, int]  # a run under one claim

_CALLS_AT_ONCE = 100  # of one run; the SDK allows 128 on a whole socket (wire 2.5)


class HostApi:
    """Runs each call as a task of the engine's loop; calls of an ended run stop."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._open: dict[Tenancy, dict[int, asyncio.Task[Any]]] = {}

    async def answer(self, run: ActiveRun, call: Request) -> None:
        """Answer one call with data or a typed error; never raises."""
        task = asyncio.current_task()
        open_calls = self._open.setdefault(_tenancy(run), {})
        if task is not None:
            open_calls[call.seq_id] = task
        try:
            _check_may_call(run, call, len(open_calls))
            await self._answer(run, call)
        except ProtocolError as error:
            self._engine.send(run, build_error(call.seq_id, error))
        except (DatabaseError, InterfaceError) as error:
            logger.warning("host call %s failed: %s", call.action, error)
            self._refuse(run, call, ErrorCode.UNAVAILABLE, "the host cannot answer now")
        except asyncio.CancelledError:
            if not self._is_adopters(run):
                self._refuse(run, call, ErrorCode.RUN_NOT_ACTIVE, "the call was ended")
            raise
        except Exception:  # a bug of ours must not leave the plugin waiting
            logger.exception("host call %s failed", call.action)
            self._refuse(run, call, ErrorCode.RUNTIME_ERROR, "the host failed")
        finally:
            open_calls.pop(call.seq_id, None)
            if not self._is_adopters(run):
                run.answered(call.seq_id)

    def _is_adopters(self, run: ActiveRun) -> bool:
        """Whether another worker goes on with the run, and answers its open calls."""
        is_lost = run.is_closed and run.log.ending is None
        return is_lost or self._engine.is_draining

    async def _answer(self, run: ActiveRun, call: Request) -> None:
        key = CallKey(run.facts.pk, run.tenure.invocation, call.seq_id, call.action)
        host_call = HostCall(run.facts, call.data, self._engine.database, key)
        if call.action == Action.CANCEL_ACTION:
            cancelled = self._cancel(run, call.data.get("seq_id"))
            self._send(run, call, {"cancelled": cancelled})
        elif call.action in STREAMS:
            await self._stream(run, call, STREAMS[call.action](host_call))
        elif call.action in HANDLERS:
            self._send(run, call, await HANDLERS[call.action](host_call))
        else:
            message = f"Action {call.action[:100]} not found"
            raise ProtocolError(ErrorCode.ACTION_NOT_FOUND, message)

    async def _stream(
        self, run: ActiveRun, call: Request, chunks: AsyncIterator[dict[str, Any]]
    ) -> None:
        # Numbered, so that the web node sees where a dead worker's stream broke off.
        number = 0
        async for chunk in chunks:
            number += 1
            frame = build_response(call.seq_id, chunk)
            self._engine.send_chunk(run, frame, call.seq_id, number)
        end = build_end(call.seq_id)
        self._engine.send_chunk(run, end, call.seq_id, number + 1)

    def _refuse(
        self, run: ActiveRun, call: Request, code: ErrorCode, message: str
    ) -> None:
        error = ProtocolError(code, message, retryable=True)
        self._engine.send(run, build_error(call.seq_id, error))

    def _send(self, run: ActiveRun, call: Request, data: dict[str, Any]) -> None:
        self._engine.send(run, build_response(call.seq_id, data))

    def _cancel(self, run: ActiveRun, seq_id: Any) -> bool:
        task = self._open.get(_tenancy(run), {}).get(seq_id)
        return task.cancel() if task is not None else False

    def forget(self, run: ActiveRun) -> None:
        """Stop what still runs for an ended run, model streams among it."""
        for task in self._open.pop(_tenancy(run), {}).values():
            task.cancel()


def _check_may_call(run: ActiveRun, call: Request, at_once: int) -> None:
    """Refuse calls of a run that is over or late; it may always stop its own calls."""
    if run.log.ending is not None:
        raise ProtocolError(ErrorCode.RUN_NOT_ACTIVE, "the run has ended")
    if at_once > _CALLS_AT_ONCE:
        message = f"at most {_CALLS_AT_ONCE} calls of a run at once"
        raise ProtocolError(ErrorCode.RATE_LIMITED, message, retryable=True)
    deadline = run.facts.deadline_at
    is_late = deadline is not None and time.time() > deadline.timestamp()
    if is_late and call.action != Action.CANCEL_ACTION:
        message = "the run's deadline passed"
        raise ProtocolError(ErrorCode.DEADLINE_EXCEEDED, message)


def _tenancy(run: ActiveRun) -> Tenancy:
    return run.facts.public_id, run.tenure.token
