"""Views that take a message: admitted once, answered in one of three ways.

Plain JSON at once, JSON with the reply after `?wait=SECONDS`, or the run's stream
for `Accept: text/event-stream`. A replayed answer (`Idempotency-Key`) waits or
streams again.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from asgiref.sync import async_to_sync
from django.db.models import Model
from django.http import HttpResponseBase, StreamingHttpResponse
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from langbot.core.rest import WorkspaceViewSet
from langbot.problems import Problem, invalid
from runners.admission import Admitted, Incoming, admit
from runners.answers import answer_for, run_of, wait_for_reply
from runners.api.run_tokens import token_for
from runners.api.sse import release_connection, stream_batches, wants_stream
from runners.errors import (
    AdmissionError,
    AgentUnavailableError,
    BudgetUsedUpError,
    ConversationBusyError,
    EmptyMessageError,
    InputTooLargeError,
    NoReplyError,
    NotEndedError,
    NotReplayableError,
    NotSteerableError,
    QueueFullError,
    TooManyFollowUpsError,
)
from runners.live import follow_batches, follow_live, opening_of
from runners.live_hub import LiveEvent

Row = TypeVar("Row", bound=Model)

MAXIMUM_WAIT = 300.0  # seconds, contract
QUEUE_RETRY_SECONDS = 5
_REFUSALS: dict[type[AdmissionError], int] = {
    InputTooLargeError: 413,
    EmptyMessageError: 400,
    AgentUnavailableError: 409,
    ConversationBusyError: 409,
    NoReplyError: 409,
    NotEndedError: 409,
    NotReplayableError: 409,
    NotSteerableError: 409,
    TooManyFollowUpsError: 429,
    BudgetUsedUpError: 429,
}
_STATUS_CODES = {"started": 201, "queued": 202, "duplicate": 200, "ignored": 200}


class ReplySerializer(serializers.Serializer[Any]):
    text = serializers.CharField()
    status = serializers.CharField()
    artifacts: Any = serializers.ListField(child=serializers.DictField())


class AnswerSerializer(serializers.Serializer[Any]):
    """What became of a message; `reply` only after `?wait=`."""

    status = serializers.ChoiceField(["started", "queued", "duplicate", "ignored"])
    run_id = serializers.UUIDField(allow_null=True)
    message_id = serializers.UUIDField()
    conversation = serializers.UUIDField(allow_null=True)
    buffer_length = serializers.IntegerField(required=False)
    max_buffer_length = serializers.IntegerField(required=False)
    turn_in_flight = serializers.UUIDField(required=False, allow_null=True)
    reason = serializers.CharField(
        required=False, help_text="Why an ignored message is answered by nobody."
    )
    event_id = serializers.CharField(required=False)
    duplicate = serializers.BooleanField(required=False)
    token = serializers.CharField(
        required=False, help_text="For `/ws/runs/<run_id>/`, good for 300 s."
    )
    reply = ReplySerializer(required=False)


# What `extend_schema` says of every view that answers a message.
ANSWERS: dict[str, Any] = {
    "parameters": [
        OpenApiParameter(
            "wait", float, description="Seconds to wait for the reply, at most 300."
        )
    ],
    "responses": dict.fromkeys((200, 201, 202), AnswerSerializer),
}


class AnsweringViewSet(WorkspaceViewSet[Row]):
    """Adds `answer`, and what follows it."""

    _admitted: Admitted | None = None

    def answer(self, incoming: Incoming) -> Response:
        """Admit the message and say what became of it."""
        return self.answer_by(lambda: admit(incoming))

    def answer_by(self, begin: Callable[[], Admitted]) -> Response:
        """Say what became of what `begin` admits; a refusal becomes a problem."""
        read_wait(self.request)  # refused before anything is written
        try:
            admitted = self._admitted = begin()
        except AdmissionError as error:
            raise refusal(error) from None
        answer = answer_for(admitted)
        response = Response(answer, status=_STATUS_CODES[admitted.status])
        if admitted.run is not None:
            place = {"id": admitted.run.public_id}
            response["Location"] = reverse(
                "langbot:run-detail", kwargs=place, request=self.request
            )
        return response

    def after_answer(self, request: Request, response: Response) -> HttpResponseBase:
        answer = response.data
        if not isinstance(answer, dict) or "message_id" not in answer:
            return response
        if response.status_code >= 300 or not _has_run(answer):  # noqa: PLR2004  HTTP's own number
            return response
        if answer["run_id"] is not None:
            # Made anew for a replayed answer: the first one has expired by then.
            workspace = self.required_workspace()
            answer["token"] = token_for(request, answer["run_id"], workspace.pk)
        if wants_stream(request):
            streamed = _stream(answer, self._admitted)
            streamed["X-Message-ID"] = str(answer["message_id"])
            return streamed
        seconds = read_wait(request)
        return _with_reply(response, seconds) if seconds else response


def refusal(error: AdmissionError) -> Problem:
    """Return what a client reads when an event, a retry or a replay is refused."""
    if isinstance(error, QueueFullError):
        return Problem(
            429,
            error.code,
            str(error),
            retry_after=QUEUE_RETRY_SECONDS,
            extra={"buffer_length": error.length, "max_buffer_length": error.maximum},
        )
    extra = {}
    if isinstance(error, ConversationBusyError):
        extra = {"turn_in_flight": str(error.run_id) if error.run_id else None}
    elif isinstance(error, BudgetUsedUpError):
        extra = {"resets_at": error.resets_at.isoformat(), "window": error.window}
    status = _REFUSALS.get(type(error), 422)
    return Problem(
        status, error.code, str(error), retry_after=error.retry_after, extra=extra
    )


def read_wait(request: Request) -> float:
    """Return `?wait=` in seconds, 0 without it; raises a 400 outside 0..300."""
    given = request.query_params.get("wait")
    if given is None:
        return 0.0
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MAXIMUM_WAIT:
        raise invalid({"wait": [_("Enter seconds from 0 to 300.")]})
    return seconds


def _has_run(answer: dict[str, Any]) -> bool:
    """Whether a run answers or will answer; ignored events get none."""
    return answer["run_id"] is not None or answer["conversation"] is not None


def _with_reply(response: Response, seconds: float) -> Response:
    release_connection()
    reply = async_to_sync(wait_for_reply)(response.data, seconds)
    if reply is None:
        return response
    complete = Response({**response.data, "reply": reply}, status=200)
    if response.has_header("Location"):
        complete["Location"] = response["Location"]
    return complete


def _stream(answer: dict[str, Any], admitted: Admitted | None) -> StreamingHttpResponse:
    run = admitted.run if admitted is not None else None
    if run is None or admitted is None or admitted.status != "started":
        return stream_batches(follow_message(answer))
    opening = opening_of(run)  # nobody has to read what was just written
    live = follow_live(run.public_id, run.pk, opening.seq)
    return stream_batches(live, opening)


async def follow_message(
    answer: dict[str, Any],
) -> AsyncGenerator[list[LiveEvent], None]:
    """Yield the events of the run that answers, once there is one."""
    run_id = await run_of(answer)
    if run_id is None:
        return
    async with aclosing(follow_batches(run_id)) as batches:
        async for batch in batches:
            yield batch
