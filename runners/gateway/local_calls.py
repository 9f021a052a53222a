"""Requests that a socket answers from what it has in memory."""

from collections.abc import Callable
from typing import Any

from langbot import __version__
from runners.gateway.files import FileReceiver
from runners.protocol.errors import ErrorCode, ProtocolError
from runners.protocol.frames import Action, Request


def _version(_files: FileReceiver, _request: Request) -> dict[str, Any]:
    return {"version": __version__, "api_features": []}


def _pong(_files: FileReceiver, _request: Request) -> dict[str, Any]:
    return {"alive": True}


def _file_chunk(files: FileReceiver, request: Request) -> dict[str, Any]:
    files.accept(request.data)
    return {}


def _no_ack(_files: FileReceiver, _request: Request) -> dict[str, Any]:
    # The host never sends indexed chunks, so there is no stream to acknowledge.
    return {"accepted": False}


def _register_again(_files: FileReceiver, _request: Request) -> dict[str, Any]:
    message = "this connection has registered its plugin already"
    raise ProtocolError(ErrorCode.CONFLICT, message)


LOCAL: dict[str, Callable[[FileReceiver, Request], dict[str, Any]]] = {
    Action.GET_LANGBOT_VERSION: _version,
    Action.PING: _pong,
    Action.FILE_CHUNK: _file_chunk,
    Action.STREAM_ACK: _no_ack,
    Action.REGISTER_PLUGIN: _register_again,
}
