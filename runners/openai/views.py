"""`/v1/`: agents for OpenAI's own clients."""

from collections.abc import AsyncGenerator
from typing import Any

from asgiref.sync import async_to_sync
from django.http import HttpResponseBase, StreamingHttpResponse
from django.utils.translation import gettext as _
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents.models import Agent
from langbot.core.access import actor_of, source_of, workspace_of
from langbot.core.authentication import HasScope
from langbot.core.guards import HasRight
from langbot.core.idempotency import event_id_of
from langbot.core.models import Workspace
from langbot.core.parsing import LenientNegotiation, StrictJSONParser, read_body
from langbot.core.permissions import SEND
from langbot.core.rest import AUTHENTICATION
from langbot.core.throttling import CallThrottle
from langbot.problems import as_problem
from runners.api.sse import MEDIA_TYPE, release_connection
from runners.openai import chat, responses
from runners.openai.calls import (
    Caller,
    Started,
    find_model,
    list_models,
    start_call,
    wait_for_call,
)
from runners.openai.errors import CallError
from runners.openai.outcomes import Outcome
from runners.openai.requests import Call, read_chat, read_response

WAIT_SECONDS = 600.0  # what the official clients wait by default


class OpenAIView(APIView):
    """Same tokens and workspaces as the REST API; errors in OpenAI's envelope."""

    schema = None  # OpenAI describes this API, not our document
    authentication_classes = AUTHENTICATION
    permission_classes = [IsAuthenticated, HasScope, HasRight]
    rights = {"GET": ("langbot_agents.view_agent",), "POST": (SEND,)}
    throttle_classes = [CallThrottle]
    throttle_scope = "messages"
    parser_classes = [StrictJSONParser]
    content_negotiation_class = LenientNegotiation

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method == "POST":
            read_body(request._request)

    def get_exception_handler(self) -> Any:
        return _envelope

    def workspace(self) -> Workspace:
        """Return the caller's workspace; raises CallError (403) without one."""
        workspace = workspace_of(self.request)
        if workspace is None:
            message = _("You belong to no workspace.")
            raise CallError(403, "permission_denied", message)
        return workspace


class ModelsView(OpenAIView):
    """`GET /v1/models`"""

    def get(self, request: Request) -> Response:
        agents = list_models(self.workspace())
        return Response({"object": "list", "data": [*map(_model, agents)]})


class ModelView(OpenAIView):
    """`GET /v1/models/{slug}`"""

    def get(self, request: Request, slug: str) -> Response:
        return Response(_model(find_model(self.workspace(), slug)))


class CallView(OpenAIView):
    """What starts a run and answers with its reply, whole or streamed."""

    def read(self, body: Any) -> Call:
        raise NotImplementedError

    def whole(self, started: Started, outcome: Outcome) -> dict[str, Any]:
        raise NotImplementedError

    def frames(self, started: Started, call: Call) -> AsyncGenerator[str, None]:
        raise NotImplementedError

    def post(self, request: Request) -> HttpResponseBase:
        call = self.read(request.data)
        caller = Caller(
            self.workspace(),
            source_of(request),
            actor_of(request),
            event_id_of(request) or "",
        )
        started = start_call(caller, call)
        release_connection()
        if call.stream:
            return _stream(self.frames(started, call))
        outcome = async_to_sync(wait_for_call)(started.run_id, WAIT_SECONDS)
        if outcome.error is not None:
            raise outcome.error
        return Response(self.whole(started, outcome))


class ChatView(CallView):
    """`POST /v1/chat/completions`"""

    def read(self, body: Any) -> Call:
        return read_chat(body)

    def whole(self, started: Started, outcome: Outcome) -> dict[str, Any]:
        return chat.completion(started, outcome)

    def frames(self, started: Started, call: Call) -> AsyncGenerator[str, None]:
        return chat.chunks(started, include_usage=call.include_usage)


class ResponsesView(CallView):
    """`POST /v1/responses`"""

    def read(self, body: Any) -> Call:
        return read_response(body)

    def whole(self, started: Started, outcome: Outcome) -> dict[str, Any]:
        return responses.response(started, outcome)

    def frames(self, started: Started, call: Call) -> AsyncGenerator[str, None]:
        return responses.events(started)


class UnknownView(OpenAIView):
    """Whatever else OpenAI offers and this host does not."""

    permission_classes = []
    throttle_classes = []

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        message = _("There is no %s here.") % request.path
        raise CallError(404, "unknown_url", message)


def _model(agent: Agent) -> dict[str, Any]:
    return {
        "id": agent.slug,
        "object": "model",
        "created": int(agent.created_at.timestamp()),
        "owned_by": "agent-host",
    }


def _stream(frames: AsyncGenerator[str, None]) -> StreamingHttpResponse:
    answer = StreamingHttpResponse(frames, content_type=MEDIA_TYPE)
    answer["Cache-Control"] = "no-store"
    answer["X-Accel-Buffering"] = "no"
    return answer


def _envelope(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer any error; None lets Django report a defect."""
    if isinstance(error, CallError):
        return _refused(error)
    problem = as_problem(error)
    if problem is None:
        return None
    code = "invalid_api_key" if problem.status_code == 401 else problem.code  # noqa: PLR2004  HTTP's own number
    status, wait = problem.status_code, problem.retry_after
    answer = _refused(CallError(status, code, str(problem.detail), retry_after=wait))
    challenge = getattr(error, "auth_header", None)
    if challenge:
        answer["WWW-Authenticate"] = challenge
    return answer


def _refused(error: CallError) -> Response:
    return Response(error.document(), status=error.status, headers=error.headers())
