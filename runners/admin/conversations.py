"""Conversations: what was said, in order, and what waits to be answered."""

from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from langbot.core.access import author_of
from langbot.lib import admin as look
from langbot.lib.codes import explain
from langbot.lib.markdown import markdown_html
from langbot.lib.periods import PeriodFilter
from runners.admin.display import TimedList, run_badge
from runners.admin.filters import BotFilter, KindFilter
from runners.admin.person_pages import PersonPages
from runners.admin.regenerating import (
    RegeneratingAdmin,
    can_be_regenerated,
    may_regenerate,
)
from runners.admin.search import IdSearch, conversations_named
from runners.choices import QueuedStatus, Role
from runners.models import Conversation, TranscriptItem
from runners.titles import rename_conversation

TRANSCRIPT_PAGE = 100
_RUNS = 10
_WAITING = 50


@admin.register(Conversation)
class ConversationAdmin(
    RegeneratingAdmin, PersonPages, IdSearch, look.RecordAdmin, TimedList
):
    Media = look.RecordMedia
    list_display = ["__str__", "kind", "workspace", "actor_id", "updated_at"]
    list_filter = [KindFilter, "workspace", BotFilter, PeriodFilter]
    list_filter_submit = True
    actions = ("erase_people",)
    list_select_related = ["workspace"]
    search_fields = ["public_id"]
    search_help_text = _("A whole conversation key, platform's id or id.")
    change_form_template = "admin/langbot_runners/conversation.html"
    fieldsets = [
        (
            _("Which conversation is it?"),
            {
                "classes": ["collapse"],
                "fields": [
                    "workspace",
                    "kind",
                    "key",
                    "title",
                    "bot_id",
                    "external_id",
                    "thread",
                    "actor_id",
                    "public_id",
                    "created_at",
                    "updated_at",
                ],
            },
        )
    ]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Past the mixin that closes records: only the title can be written.
        return bool(super(look.RecordMixin, self).has_change_permission(request, obj))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = self.fieldsets[0][1]["fields"]
        return [name for name in names if name != "title"]

    def save_model(
        self, request: HttpRequest, obj: Any, form: Any, change: Any
    ) -> None:
        stored = Conversation.objects.get(pk=obj.pk)
        title = form.cleaned_data["title"]
        rename_conversation(stored, title, author_of(request))

    def matches(self, text: str) -> Q:
        return conversations_named(text)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        conversation = context.get("original")
        if conversation is not None:
            context |= _transcript(conversation, request.GET.get("before", ""))
            context["runs"] = runs = _latest_runs(conversation)
            is_idle = all(run["row"].is_terminal for run in runs)
            context["may_regenerate"] = is_idle and may_regenerate(request)
            context["waiting"] = _waiting(conversation)
        return super().render_change_form(request, context, *args, **kwargs)


def _transcript(conversation: Conversation, before: str) -> dict[str, Any]:
    """Return one page of messages, oldest first, and where the earlier ones end."""
    items = TranscriptItem.objects.current().filter(conversation=conversation)
    if before.isascii() and before.isdecimal():
        items = items.filter(seq__lt=int(before[:18]))
    newest = items.order_by("-seq").defer("content")
    page = list(newest[: TRANSCRIPT_PAGE + 1])
    shown = page[:TRANSCRIPT_PAGE][::-1]
    return {
        "transcript": [_message(item) for item in shown],
        "earlier": shown[0].seq if len(page) > TRANSCRIPT_PAGE else None,
        "is_part": bool(before),
    }


def _message(item: TranscriptItem) -> dict[str, Any]:
    is_reply, code = item.role == Role.ASSISTANT, str(item.metadata.get("code") or "")
    return {
        "item": item,
        "html": markdown_html(item.text) if is_reply else "",
        "is_answer": can_be_regenerated(item),
        "problem": explain(code).meaning if item.item_type == "error" and code else "",
    }


def _latest_runs(conversation: Conversation) -> list[dict[str, Any]]:
    runs = conversation.runs.select_related("agent").order_by("-pk")
    runs = runs.defer("snapshot", "metadata", "agent__runner_config")
    return [{"row": run, "badge": run_badge(run)} for run in runs[:_RUNS]]


def _waiting(conversation: Conversation) -> list[Any]:
    """Return the messages that wait, the next one first: that is their position."""
    waiting = conversation.queue.filter(status=QueuedStatus.QUEUED).order_by("pk")
    related = waiting.select_related("event", "agent").defer(
        "event__data", "event__delivery", "event__metadata", "agent__runner_config"
    )
    return list(related[:_WAITING])
