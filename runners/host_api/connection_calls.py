"""Answers calls that no worker answers, in the web node that holds the socket.

They belong to no run, or to one that a remote runtime holds (`remote`).

A handler gets who calls from its connection alone, never from the data. It does its
reading and writing through services on `call.database`, whose threads are these calls'
own: a slow one never keeps a plugin from registering.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError

from agents.registry.connections import Registered
from langbot.lib.group_commit import WritingExecutor
from langbot.lib.ids import read_uuid
from runners.host_api import information, remote, sending
from runners.host_api.calls import ConnectionCall, ConnectionHandler
from runners.host_api.control import runs, runtimes, stats
from runners.host_api.control.calls import NoData, control, in_turn
from runners.host_api.events_runs import EventsRequest, RunsRequest
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import Action, Request, build_error, build_response

logger = logging.getLogger(__name__)

# Of the control plane; `control` asks for the token's right before anything else.
CONTROL: dict[str, ConnectionHandler] = {
    Action.RUN_GET: control(runs.TargetRequest, runs.run_get),
    Action.RUN_LIST: control(RunsRequest, runs.run_list),
    Action.RUN_EVENTS_PAGE: control(EventsRequest, runs.run_events_page),
    Action.RUN_CANCEL: control(runs.CancelRequest, runs.run_cancel),
    Action.RUN_APPEND_RESULT: control(runs.AppendRequest, runs.run_append_result),
    Action.RUN_FINALIZE: control(runs.FinalizeRequest, runs.run_finalize),
    Action.RUN_CLAIM: control(runs.ClaimRequest, runs.run_claim),
    Action.RUN_RENEW_CLAIM: control(runs.RenewRequest, runs.run_renew_claim),
    Action.RUN_RELEASE_CLAIM: control(runs.ReleaseRequest, runs.run_release_claim),
    Action.RUNTIME_REGISTER: control(
        runtimes.RegisterRequest, runtimes.runtime_register
    ),
    Action.RUNTIME_HEARTBEAT: control(
        runtimes.HeartbeatRequest, runtimes.runtime_heartbeat
    ),
    Action.RUNTIME_LIST: control(runtimes.RuntimesRequest, runtimes.runtime_list),
    Action.RUNTIME_RECONCILE: control(
        runtimes.ReconcileRequest, runtimes.runtime_reconcile
    ),
    Action.RUNNER_LIST: control(runtimes.RunnersRequest, runtimes.runner_list),
    Action.RUN_STATS: in_turn(control(stats.RunStatsRequest, stats.run_stats)),
    Action.RUNTIME_STATS: in_turn(control(NoData, stats.runtime_stats)),
    Action.RUNNER_STATS: in_turn(control(stats.RunnerStatsRequest, stats.runner_stats)),
}

# Of any plugin: names of its token's one workspace, or where a right is to be had.
INFORMATION: dict[str, ConnectionHandler] = {
    Action.GET_BOTS: information.get_bots,
    Action.GET_BOT_INFO: information.get_bot_info,
    Action.GET_LLM_MODELS: information.get_llm_models,
    Action.LIST_PLUGINS_MANIFEST: information.list_plugins_manifest,
    Action.LIST_COMMANDS: information.list_commands,
    Action.GET_CONFIG_FILE: information.get_config_file,
    Action.SEND_MESSAGE: sending.send_message,
    Action.LIST_TOOLS: information.refuse_tools,
    Action.GET_TOOL_DETAIL: information.refuse_tools,
    Action.CALL_TOOL: information.refuse_tools,
    Action.COUNT_TOKENS: information.refuse_models,
    Action.INVOKE_LLM: information.refuse_models,
    Action.INVOKE_LLM_STREAM: information.refuse_models,
    Action.INVOKE_RERANK: information.refuse_models,
    Action.INVOKE_EMBEDDING: information.refuse_models,
    Action.RETRIEVE_KNOWLEDGE_BASE: information.refuse_storage,
    Action.SET_PLUGIN_STORAGE: information.refuse_storage,
    Action.GET_PLUGIN_STORAGE: information.refuse_storage,
    Action.DELETE_PLUGIN_STORAGE: information.refuse_storage,
    Action.GET_PLUGIN_STORAGE_KEYS: information.refuse_storage,
    Action.SET_WORKSPACE_STORAGE: information.refuse_storage,
    Action.GET_WORKSPACE_STORAGE: information.refuse_storage,
    Action.DELETE_WORKSPACE_STORAGE: information.refuse_storage,
    Action.GET_WORKSPACE_STORAGE_KEYS: information.refuse_storage,
    Action.CALL_PLATFORM_API: information.refuse_platforms,
}

HANDLERS: dict[str, ConnectionHandler] = {**CONTROL, **INFORMATION}

CALLS_AT_ONCE = 32  # of one socket: beyond it a call is refused, not kept waiting
_THREADS = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a socket; `connection` is None before its plugin registered."""

    connection: Registered | None
    request: Request
    send: Callable[[bytes], None]  # what comes before the last frame of an answer
    note: Callable[[ProtocolError], None]  # counts a refusal


class ConnectionCalls:
    """Runs each call beside reading its socket; one per web node."""

    def __init__(self) -> None:
        self.database = WritingExecutor("connection-calls", _THREADS)

    def takes(self, connection: Registered | None, request: Request) -> bool:
        """Whether this is answered here: a call without a run, or of a claimed one."""
        given = request.data.get("run_id")
        if given is None:
            return request.action in HANDLERS
        return connection is not None and read_uuid(given) in connection.claimed

    async def answer(self, asked: Asked) -> bytes:
        """Return the frame that answers: data or a typed error; never raises."""
        request = asked.request
        try:
            return await self._answer(asked)
        except ProtocolError as error:
            asked.note(error)
            return build_error(request.seq_id, error)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("call %s failed: %s", request.action, error)
            return _refusal(
                request, ErrorCode.UNAVAILABLE, "the host cannot answer now"
            )
        except asyncio.CancelledError:
            raise
        except Exception:  # a bug of ours must not leave the plugin waiting
            logger.exception("call %s failed", request.action)
            return _refusal(request, ErrorCode.RUNTIME_ERROR, "the host failed")

    async def _answer(self, asked: Asked) -> bytes:
        connection, request = asked.connection, asked.request
        if connection is None:
            message = "the plugin has not been registered yet"
            raise ProtocolError(ErrorCode.UNAVAILABLE, message, retryable=True)
        is_within_run = request.data.get("run_id") is not None
        if is_within_run and request.action not in remote.BY_CONTROL:
            return await remote.answer_within_run(
                connection, request, self.database, asked.send
            )
        call = ConnectionCall(
            connection, request.action, request.data, self.database, request.seq_id
        )
        answer = await HANDLERS[request.action](call)
        if request.action in CONTROL:
            remote.note_claim(connection, request.action, str(answer.get("run_id")))
        return build_response(request.seq_id, answer)


def _refusal(request: Request, code: ErrorCode, message: str) -> bytes:
    error = ProtocolError(code, message, retryable=True)
    return build_error(request.seq_id, error)
