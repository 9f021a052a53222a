"""Answers host calls in the worker that owns the run, against its frozen rights."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError

from langbot.lib.buckets import LocalBucket
from runners.engine.active import ActiveRun
from runners.engine.own_results import OwnResults
from runners.host_api import (
    artifacts,
    boxes,
    events,
    events_runs,
    history,
    knowledge,
    models,
    own_runs,
    platform,
    replies,
    runs,
    search,
    state,
    steering,
    storage,
    tools,
    vectors,
)
from runners.host_api.authorization import authorize, run_bucket
from runners.host_api.calls import HostCall
from runners.host_api.refusals import RefusalCounter
from runners.host_api.run_handle import EngineRunHandle
from runners.ledger.journal import CallKey
from runners.ledger.pausing import tool_of
from runners.ledger.refusal_counts import add_refusals
from runners.protocol.actions import BOX_ACTIONS
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import (
    Action,
    Request,
    build_end,
    build_error,
    build_response,
)
from runners.protocol.manifest import parse_runner_id

if TYPE_CHECKING:
    from runners.engine.engine import Engine

logger = logging.getLogger(__name__)

Handler = Callable[[HostCall], Awaitable[dict[str, Any]]]
StreamHandler = Callable[[HostCall], AsyncGenerator[dict[str, Any], None]]

# Each action has its row in `authorization.RULES`, or nobody may call it.
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
    Action.RUN_CANCEL: own_runs.run_cancel,
    Action.RUN_APPEND_RESULT: own_runs.run_append_result,
    Action.RUN_FINALIZE: own_runs.run_finalize,
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
    Action.INVOKE_RERANK: vectors.invoke_rerank,
    Action.INVOKE_EMBEDDING: vectors.invoke_embedding,
    Action.GET_TOOL_DETAIL: tools.get_tool_detail,
    Action.CALL_TOOL: tools.call_tool,
    Action.RETRIEVE_KNOWLEDGE_BASE: knowledge.retrieve_knowledge_base,
    Action.CALL_PLATFORM_API: platform.call_platform_api,
    Action.REPLY_STREAM: replies.reply_stream,
    Action.STEERING_PULL: steering.steering_pull,
    **dict.fromkeys(BOX_ACTIONS, boxes.no_box),
}
STREAMS: dict[str, StreamHandler] = {Action.INVOKE_LLM_STREAM: models.invoke_llm_stream}

Tenancy = tuple[UUID, int]  # a run under one claim

# What was done may not be undone by doing it again: a failure of ours in these does
# not invite a second call, which the journal would take for another one.
_NOT_AGAIN = frozenset(
    {
        Action.CALL_TOOL,
        Action.CALL_PLATFORM_API,
        Action.REPLY_STREAM,
        Action.RUN_APPEND_RESULT,
        Action.STEERING_PULL,
    }
)
_REFUSALS_COUNTED = 20_000  # different ones between two writes


@dataclass(slots=True)
class _Calls:
    """What one run has open, and how often it may still call."""

    bucket: LocalBucket
    tasks: dict[int, asyncio.Task[Any]] = field(default_factory=dict)


class HostApi:
    """Runs each call as a task of the engine's loop; calls of an ended run stop."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._open: dict[Tenancy, _Calls] = {}
        self._refusals = RefusalCounter(_REFUSALS_COUNTED)
        self._flushing = asyncio.Lock()

    async def answer(self, run: ActiveRun, call: Request) -> None:
        """Answer one call with data or a typed error; never raises."""
        task = asyncio.current_task()
        calls = self._calls_of(run)
        if task is not None:
            calls.tasks[call.seq_id] = task
        try:
            authorize(run, call, len(calls.tasks), calls.bucket)
            await self._answer(run, call)
        except ProtocolError as error:
            self._count(run, call, error)
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
            calls.tasks.pop(call.seq_id, None)
            if run.is_closed and not calls.tasks:
                self._open.pop(_tenancy(run), None)  # it came after `forget`
            if not self._is_adopters(run):
                run.answered(call.seq_id)

    def _calls_of(self, run: ActiveRun) -> _Calls:
        tenancy = _tenancy(run)
        calls = self._open.get(tenancy)
        if calls is None:
            calls = self._open[tenancy] = _Calls(run_bucket())
        return calls

    def _is_adopters(self, run: ActiveRun) -> bool:
        """Whether another worker goes on with the run, and answers its open calls."""
        is_lost = run.is_closed and run.log.ending is None
        return is_lost or self._engine.is_draining

    async def _answer(self, run: ActiveRun, call: Request) -> None:
        call_id, tool = tool_of(call.action, call.data)
        key = CallKey(
            run.facts.pk,
            run.tenure.invocation,
            call.seq_id,
            call.action,
            tool_call_id=call_id,
            tool_name=tool,
        )
        host_call = HostCall(
            run.facts,
            call.data,
            self._engine.database,
            key,
            OwnResults(self._engine, run, call.seq_id),
            EngineRunHandle(self._engine, run, key),
            run.tenure.token,
        )
        if call.action == Action.CANCEL_ACTION:
            cancelled = self._cancel(run, call.data.get("seq_id"))
            self._send(run, call, {"cancelled": cancelled})
        elif call.action in STREAMS:
            await self._stream(run, call, STREAMS[call.action](host_call))
        elif call.action in HANDLERS:
            self._send(run, call, await HANDLERS[call.action](host_call))
            if call.seq_id in run.settled and run.log.ending is not None:
                self._engine.cancel_in_plugin(run)  # it ended itself by this call
        else:
            message = f"Action {call.action[:100]} not found"
            raise ProtocolError(ErrorCode.ACTION_NOT_FOUND, message)

    async def _stream(
        self,
        run: ActiveRun,
        call: Request,
        chunks: AsyncGenerator[dict[str, Any], None],
    ) -> None:
        # Numbered, so that the web node sees where a dead worker's stream broke off.
        number = 0
        async with aclosing(chunks):
            async for chunk in chunks:
                number += 1
                frame = build_response(call.seq_id, chunk)
                self._engine.send_chunk(run, frame, call.seq_id, number)
        end = build_end(call.seq_id)
        self._engine.send_chunk(run, end, call.seq_id, number + 1)

    def _refuse(
        self, run: ActiveRun, call: Request, code: ErrorCode, message: str
    ) -> None:
        retryable = call.action not in _NOT_AGAIN
        error = ProtocolError(code, message, retryable=retryable)
        self._engine.send(run, build_error(call.seq_id, error))

    def _send(self, run: ActiveRun, call: Request, data: dict[str, Any]) -> None:
        self._engine.send(run, build_response(call.seq_id, data))

    def _cancel(self, run: ActiveRun, seq_id: Any) -> bool:
        is_number = type(seq_id) is int
        task = self._calls_of(run).tasks.get(seq_id) if is_number else None
        return task.cancel() if task is not None else False

    def forget(self, run: ActiveRun) -> None:
        """Stop what still runs for an ended run, model streams among it."""
        calls = self._open.pop(_tenancy(run), None)
        for seq_id, task in calls.tasks.items() if calls is not None else ():
            if seq_id not in run.settled:
                task.cancel()
        if self._refusals and not self._flushing.locked():
            self._engine.spawn(self.flush_refusals())

    def _count(self, run: ActiveRun, call: Request, error: ProtocolError) -> None:
        runner = parse_runner_id(run.facts.runner_id)
        plugin = f"{runner.author}/{runner.plugin}"
        self._refusals.add(run.facts.public_id, call.action, error.code, plugin)

    async def flush_refusals(self) -> None:
        """Write what was refused since the last time, in one statement for all runs."""
        async with self._flushing:
            while refusals := self._refusals.take():
                try:
                    await self._engine.database(add_refusals, refusals)
                except (DatabaseError, InterfaceError) as error:
                    logger.warning("refusals wait for the database: %s", error)
                    self._refusals.put_back(refusals)
                    return


def _tenancy(run: ActiveRun) -> Tenancy:
    return run.facts.public_id, run.tenure.token
