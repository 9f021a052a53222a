"""REST for conversations, their messages and what waits in them."""

from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import Http404
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from agents.models import Agent
from artifacts.store import unexpired
from langbot.core.access import author_of
from langbot.core.audit import record_act
from langbot.core.models import Workspace
from langbot.core.rest import WorkspaceViewSet
from langbot.lib.ids import uuid7
from langbot.lib.prepared import is_word
from langbot.problems import Problem, invalid
from platforms.models import Bot
from runners.admission import BotRef, Incoming
from runners.answers import find_message
from runners.api.answering import ANSWERS, AnsweringViewSet
from runners.api.intake import message_from
from runners.api.pending import PendingPage
from runners.api.serializers import (
    ConversationSerializer,
    MessageSerializer,
    NewConversationSerializer,
    NewMessageSerializer,
    PendingSerializer,
)
from runners.api.transcript import TranscriptPage
from runners.bots import find_bot
from runners.branches import find_item, regenerate, say_after
from runners.choices import HIDDEN_THOUGHT, ConversationKind, QueuedStatus
from runners.conversations import place_key
from runners.listeners import disconnect_listeners
from runners.models import AgentRun, Conversation, QueuedMessage, TranscriptItem
from runners.pending import cancel_message
from runners.resets import reset_conversation

# Columns of a message's run and event that a transcript does not show.
_LARGE = ("run__snapshot", "event__input", "event__data", "event__delivery")


def running_run() -> Subquery:
    """Return an expression: the id of a conversation's live run (AG-54)."""
    live = AgentRun.objects.live().filter(conversation=OuterRef("pk")).order_by()
    return Subquery(live.values("public_id")[:1])


class ConversationFilters(serializers.Serializer[Any]):
    key = serializers.CharField(required=False, max_length=500)
    kind = serializers.ChoiceField(required=False, choices=ConversationKind.choices)
    bot = serializers.UUIDField(required=False, source="bot_id")


class ConversationViewSet(
    mixins.RetrieveModelMixin, mixins.ListModelMixin, AnsweringViewSet[Conversation]
):
    """Where messages have an order. `key` is the caller's own name for one."""

    queryset = Conversation.objects.annotate(running=running_run())
    serializer_class = ConversationSerializer
    filter_serializer = ConversationFilters

    def filter_rows(
        self, queryset: QuerySet[Conversation], given: dict[str, Any]
    ) -> QuerySet[Conversation]:
        key, kind = given.pop("key", None), given.pop("kind", None)
        words = () if kind is None else (kind,)
        queryset = queryset.filter(is_word("kind", words))
        if key is not None:
            bot_id = given.get("bot_id")
            place = f"bot:{bot_id}" if bot_id else "api"
            queryset = queryset.filter(Q(key=key) | Q(key=place_key(place, key)))
        return queryset.filter(**given)

    @extend_schema(
        request=NewConversationSerializer,
        responses={200: ConversationSerializer, 201: ConversationSerializer},
    )
    def create(self, request: Request) -> Response:
        """Make a conversation; with a key that exists, return that one (200)."""
        workspace = self.required_workspace()
        serializer = NewConversationSerializer(
            data=request.data, context=self.get_serializer_context()
        )
        serializer.is_valid(raise_exception=True)
        row, is_new = open_conversation(workspace, **serializer.validated_data)
        return Response(self.get_serializer(row).data, status=201 if is_new else 200)

    def partial_update(self, request: Request, id: UUID) -> Response:
        """Rename a conversation."""
        return self.change(partial=True)

    @extend_schema(
        methods=["GET"],
        responses=MessageSerializer(many=True),
        operation_id="transcript",
    )
    @extend_schema(
        methods=["POST"],
        request=NewMessageSerializer,
        operation_id="send_message",
        **ANSWERS,
    )
    @action(
        detail=True,
        methods=["get", "post"],
        serializer_class=MessageSerializer,
        page_order="-seq",
        pagination_class=TranscriptPage,
        throttle_scope="messages",
    )
    def messages(self, request: Request, id: UUID) -> Response:
        """GET the transcript, newest first; POST a message."""
        conversation = self.get_object()
        if request.method == "GET":
            rows = TranscriptItem.objects.current().filter(conversation=conversation)
            items = rows.exclude(item_type=HIDDEN_THOUGHT)
            return self.listing(items.select_related("run", "event").defer(*_LARGE))
        return self._send(request, conversation)

    @extend_schema(
        filters=False,
        responses=MessageSerializer(many=True),
        operation_id="new_conversation_messages",
    )
    @action(
        detail=False,
        url_path="new/messages",
        serializer_class=MessageSerializer,
        page_order="-seq",
        pagination_class=TranscriptPage,
        filter_serializer=None,
    )
    def new_messages(self, request: Request) -> Response:
        """Return nothing: what a client shows before the first message (LH-26)."""
        return self.listing(TranscriptItem.objects.none())

    def _send(self, request: Request, conversation: Conversation) -> Response:
        workspace = self.required_workspace()
        serializer = NewMessageSerializer(
            data=request.data, context=self.get_serializer_context()
        )
        serializer.is_valid(raise_exception=True)
        content = serializer.validated_data
        parent = _parent_of(conversation, content)
        if parent is not None and "text" not in content:
            author = author_of(request)
            return self.answer_by(lambda: regenerate(parent, author))
        agent = content.get("agent") or _agent_of(conversation)
        incoming = said_in(workspace, conversation, request, content, agent)
        if parent is not None:
            return self.answer_by(lambda: say_after(parent, incoming))
        return self.answer(incoming)

    @extend_schema(
        request=None,
        responses=ConversationSerializer,
        operation_id="reset_conversation",
    )
    @action(detail=True, methods=["post"])
    def reset(self, request: Request, id: UUID) -> Response:
        """Begin anew: agents see nothing of what was said before, people all of it."""
        conversation = self.get_object()
        reset_conversation(conversation, author_of(request))
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(responses={204: None}, operation_id="disconnect_listeners")
    @action(detail=True, methods=["delete"], url_path="stream")
    def disconnect(self, request: Request, id: UUID) -> Response:
        """End the event streams of its run under way; the run goes on."""
        disconnect_listeners(self.get_object(), author_of(request))
        return Response(status=204)

    @extend_schema(responses=PendingSerializer(many=True), operation_id="pending")
    @action(
        detail=True,
        serializer_class=PendingSerializer,
        page_order="pk",
        pagination_class=PendingPage,
    )
    def pending(self, request: Request, id: UUID) -> Response:
        """List the messages that wait for the running turn, next one first."""
        waiting = QueuedMessage.objects.filter(
            conversation=self.get_object(), status=QueuedStatus.QUEUED
        )
        return self.listing(
            waiting.select_related("event", "agent", "run", "conversation")
        )

    @extend_schema(responses={204: None}, operation_id="cancel_message")
    @action(
        detail=True,
        methods=["delete"],
        url_path="pending/<uuid:message_id>",
        url_name="pending-message",
    )
    def cancel(self, request: Request, id: UUID, message_id: UUID) -> Response:
        """Take a waiting message back; 409 once it is being answered."""
        conversation = self.get_object()
        message = find_message(message_id)
        if message is None or message.conversation_id != conversation.pk:
            raise Http404
        if message.status == QueuedStatus.CANCELLED:
            return Response(status=204)
        with transaction.atomic():
            if not cancel_message(message):
                detail = _("The message waits no longer.")
                raise Problem(409, "not_pending", detail)
            record_act(author_of(request), "cancelled", message)
        return Response(status=204)


def _parent_of(
    conversation: Conversation, content: dict[str, Any]
) -> TranscriptItem | None:
    """Return the message that `parent` names, or refuse it."""
    named = content.get("parent")
    found = find_item(conversation, named) if named is not None else None
    if named is not None and found is None:
        raise invalid({"parent": [_("There is no such message.")]})
    return found


def open_conversation(
    workspace: Workspace, *, key: str = "", title: str = "", bot: Bot | None = None
) -> tuple[Conversation, bool]:
    """Return the conversation of a key and whether it is new; safe to race."""
    public_id = uuid7()
    place = f"bot:{bot.public_id}" if bot is not None else "api"
    wanted = place_key(place, key) if key else f"conversation:{public_id}"
    rows = Conversation.objects.filter(workspace=workspace, key=wanted)
    known = rows.first()
    if known is not None:
        return known, False
    try:
        with transaction.atomic():
            return Conversation.objects.create(
                workspace=workspace,
                public_id=public_id,
                key=wanted,
                external_id=key,
                title=title,
                bot_id=bot.public_id if bot is not None else None,
            ), True
    except IntegrityError:
        return rows.get(), False  # another request made it first


def said_in(
    workspace: Workspace,
    conversation: Conversation,
    request: Request,
    content: dict[str, Any],
    agent: Agent | None,
) -> Incoming:
    """Return the envelope of a validated message; raises a 400 for unknown files.

    `workspace` is the conversation's, which need not be loaded once more.
    """
    if content.get("client_key"):
        content["event_id"] = f"{conversation.public_id}:{content['client_key']}"
    files = content.get("files", [])
    content["attachments"] = _attachments(workspace, conversation, files)
    return message_from(
        request,
        workspace,
        content,
        agent=agent,
        conversation=conversation,
        bot=_bot_of(conversation),
    )


def _bot_of(conversation: Conversation) -> BotRef | None:
    """Return the bot that the conversation came by, None for one of REST."""
    return None if conversation.bot_id is None else find_bot(conversation.bot_id)


def _agent_of(conversation: Conversation) -> Agent | None:
    """A conversation that was begun with a named agent stays with it."""
    last = (
        AgentRun.objects.select_related("agent")
        .filter(conversation=conversation, bot_id=None, binding=None)
        .order_by("-pk")
        .first()
    )
    if last is None or last.agent.archived_at is not None:
        return None
    return last.agent


def _attachments(
    workspace: Workspace, conversation: Conversation, files: list[UUID]
) -> list[dict[str, Any]]:
    """Return references to files that a caller names; raises a 400 for unknown ones."""
    found = {
        row.public_id: row
        for row in unexpired().filter(workspace=workspace, public_id__in=files)
        if row.conversation_id_ref in (None, conversation.public_id)
    }
    unknown = [str(file) for file in files if file not in found]
    if unknown:
        raise invalid({"files": [_("Unknown: %s") % ", ".join(unknown)]})
    return [
        {
            "artifact_id": str(file),
            "type": found[file].type,
            "name": found[file].name,
        }
        for file in files
    ]


class QueuedViewSet(WorkspaceViewSet[QueuedMessage]):
    """What became of queued messages."""

    queryset = QueuedMessage.objects.select_related(
        "event", "agent", "run", "conversation"
    )
    serializer_class = PendingSerializer
    workspace_field = "conversation__workspace"

    def retrieve(self, request: Request, id: UUID) -> Response:
        """One message by its id; `run_id` once it is being answered."""
        rows = self.get_queryset().filter(Q(public_id=id) | Q(event__public_id=id))
        message = rows.first()
        if message is None:
            raise Http404
        return Response(self.get_serializer(message).data)
