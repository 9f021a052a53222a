"""Model calls with their cost, quotas, what is spent of them, and tiers of people."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.timezone import localtime
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from agents.admin.person_names import PeopleColumn
from agents.choices import QuotaScope
from agents.models import Agent, ModelPrice, PersonTier, Quota, QuotaWindow, UsageRecord
from agents.resources.budgets import limits_on, percent
from agents.resources.near_end import NEAR_END_PERCENT
from agents.resources.tiers import change_tier
from agents.resources.windows import (
    WindowRefusedError,
    grant_extra_day,
    reset_window,
)
from langbot.core.access import actor_of_user
from langbot.core.admin import author_of
from langbot.core.conflicts import OPENED, ConflictAdmin, ConflictForm
from langbot.lib import admin as look
from langbot.lib.money import dollars, with_unknown
from langbot.lib.periods import PeriodFilter
from runners.admin.display import TimedList, two_lines
from runners.admin.exports import Column, Exports
from runners.admin.filters import AgentFilter, ChoiceFilter, KindFilter
from runners.models import AgentRun
from runners.spending import person_of

_COLUMNS = (
    Column("id", lambda row: str(row.public_id)),
    Column("created_at", lambda row: row.created_at),
    Column("agent", lambda row: row.agent.slug if row.agent else ""),
    Column("person", lambda row: row.person),
    Column("run", lambda row: str(row.run_id or "")),
    Column("kind", lambda row: row.kind),
    Column("provider", lambda row: row.provider_name),
    Column("model", lambda row: row.model_name),
    Column("outcome", lambda row: row.outcome),
    Column("prompt_tokens", lambda row: row.prompt_tokens),
    Column("completion_tokens", lambda row: row.completion_tokens),
    Column("cached_tokens", lambda row: row.cached_tokens),
    Column("cache_write_tokens", lambda row: row.cache_write_tokens),
    Column("reasoning_tokens", lambda row: row.reasoning_tokens),
    Column("estimated", lambda row: row.estimated),
    Column("cost_microdollars", lambda row: row.cost_microdollars),
    Column("cost_source", lambda row: row.cost_source),
)


class CostFilter(ChoiceFilter):
    title = _("cost from")
    field = "cost_source"
    parameter_name = "cost_source__exact"


@admin.register(UsageRecord)
class UsageRecordAdmin(Exports, PeopleColumn, look.RecordAdmin, TimedList):
    """What was called, for whom, and what it cost."""

    Media = look.RecordMedia
    list_display = ["at", "called", "agent", "whom", "tokens", "cost", "of_run"]
    list_filter = [CostFilter, KindFilter, AgentFilter, PeriodFilter]
    list_filter_submit = True
    list_select_related = ["agent"]
    search_fields = ["public_id", "run_id", "person"]
    search_help_text = _("The whole id of a call, a run or a person.")
    actions = ["export_csv", "export_json"]
    export_columns = _COLUMNS
    export_related = ("agent",)
    fieldsets = [
        (
            _("What was called?"),
            {"fields": ["kind", "provider_name", "model_name", "model", "outcome"]},
        ),
        (
            _("What did it use?"),
            {
                "fields": [
                    *("prompt_tokens", "completion_tokens", "cached_tokens"),
                    *("cache_write_tokens", "reasoning_tokens", "estimated"),
                ]
            },
        ),
        (_("What did it cost?"), {"fields": ["cost", "cost_source", "price"]}),
        (
            _("Where does it come from?"),
            {
                "fields": [
                    *("workspace", "agent", "whom", "person", "of_run"),
                    *("invocation", "call", "public_id", "created_at"),
                ]
            },
        ),
    ]
    readonly_fields = ["whom", "cost", "of_run"]

    def complete(self, rows: Sequence[Any], user: Any) -> None:
        self.name_people(rows)
        wanted = {row.run_id for row in rows if row.run_id is not None}
        runs = AgentRun.objects.filter(public_id__in=wanted)
        keys = dict(runs.values_list("public_id", "pk")) if wanted else {}
        for row in rows:
            row.run_key = keys.get(row.run_id)

    @admin.display(description=_("model"))
    def called(self, row: UsageRecord) -> str:
        return f"{row.provider_name} · {row.model_name}"

    @admin.display(description=_("whose"))
    def whom(self, row: UsageRecord) -> str:
        return self.shown(row)

    @admin.display(description=_("tokens in, out"))
    def tokens(self, row: UsageRecord) -> str:
        counts = (row.prompt_tokens, row.completion_tokens)
        shown = ("—" if count is None else f"{count:,}" for count in counts)
        return ("≈ " if row.estimated else "") + ", ".join(shown)

    @admin.display(description=_("cost"))
    def cost(self, row: UsageRecord) -> str:
        if row.cost_missing:
            return look.badge(row.get_cost_source_display(), look.WARN)
        return dollars(row.cost_microdollars)

    @admin.display(description=_("run"))
    def of_run(self, row: Any) -> str:
        if not hasattr(row, "run_key"):
            self.complete([row], None)
        if row.run_key is None:
            return "—" if row.run_id is None else str(row.run_id)
        there = reverse("admin:langbot_runners_agentrun_change", args=[row.run_key])
        return format_html('<a class="lb-record" href="{}">{}</a>', there, row.run_id)


class PriceInline(look.TabularInline):
    """What the model costs from when on; a new price is a new line."""

    model = ModelPrice
    form = ConflictForm
    fields = [
        *("valid_from", "input_microdollars", "output_microdollars"),
        *("cached_microdollars", "cache_write_microdollars"),
        *("reasoning_microdollars", "call_microdollars", OPENED),
    ]
    extra = 0
    verbose_name_plural = _("prices (microdollars per million tokens)")


@admin.register(Quota)
class QuotaAdmin(PeopleColumn, ConflictAdmin):
    form = ConflictForm
    list_display = ["__str__", "workspace", "whom", "limit", "enabled"]
    list_filter = ["scope", "window", "enabled", "workspace"]
    list_select_related = ["workspace", "agent"]
    search_fields = ["person", "agent__slug", "agent__name"]
    autocomplete_fields = ["workspace", "agent"]
    fieldsets = [
        (
            _("Whose calls count?"),
            {"fields": ["workspace", "scope", "agent", "person", "tier", "enabled"]},
        ),
        (_("How much may they cost?"), {"fields": ["window", "limit_microdollars"]}),
    ]

    def complete(self, rows: Sequence[Any], user: Any) -> None:
        self.name_people(rows)

    @admin.display(description=_("whose"))
    def whom(self, quota: Quota) -> str:
        if quota.person:
            return self.shown(quota)
        return str(quota.agent or quota.get_tier_display() or "—")

    @admin.display(description=_("limit"))
    def limit(self, quota: Quota) -> str:
        if quota.limit_microdollars is None:
            return str(_("base limit of the tier"))
        if not quota.limit_microdollars:
            return str(_("unlimited"))
        return dollars(quota.limit_microdollars)


@admin.register(QuotaWindow)
class QuotaWindowAdmin(PeopleColumn, look.RecordAdmin):
    """What is spent and reserved of each budget in its window, and what is left."""

    Media = look.RecordMedia
    list_display = [
        *("starts_at", "window", "whose", "spent", "reserved", "limit", "used"),
    ]
    list_filter = ["scope", "window", "workspace"]
    list_select_related = ["workspace"]
    search_fields = ["subject"]
    search_help_text = _("A person, such as api:user:7, or an e-mail address.")
    person_column = "subject"
    actions = ["grant", "reset"]
    readonly_fields = ["whose", "spent", "reserved", "limit", "used", "named"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    *("workspace", "scope", "whose", "window", "starts_at", "ends_at"),
                    *("spent", "reserved", "limit", "used", "extra_days", "named"),
                ]
            },
        )
    ]

    def get_sortable_by(self, request: HttpRequest) -> Any:
        return ["starts_at"]

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        """Find people by what events call them, and ours by e-mail (AG-89)."""
        text = search_term.strip()
        if not text:
            return queryset, False
        people = _people_named(text)
        return queryset.filter(Q(subject=text) | Q(subject__in=people)), False

    def complete(self, rows: Sequence[Any], user: Any) -> None:
        keys = [int(row.subject) for row in rows if row.scope == QuotaScope.AGENT]
        names = dict(Agent.objects.filter(pk__in=keys).values_list("pk", "name"))
        limits, now = limits_on(rows), datetime.now(UTC)
        self.name_people([row for row in rows if row.scope == QuotaScope.USER])
        for row in rows:
            is_agent = row.scope == QuotaScope.AGENT
            row.agent_name = names.get(int(row.subject), "") if is_agent else ""
            # A changed limit does not say what held in a window that is over.
            row.limit_now = limits.get(row.pk) if row.ends_at > now else None

    def has_refill_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("langbot_agents.change_quotawindow"))

    @admin.display(description=_("whose"))
    def whose(self, row: Any) -> str:
        if not hasattr(row, "limit_now"):
            self.complete([row], None)
        if row.scope == QuotaScope.USER:
            return self.shown(row)
        return two_lines(row.agent_name or row.workspace, row.get_scope_display())

    @admin.display(description=_("as quotas name it"))
    def named(self, row: QuotaWindow) -> str:
        return row.subject or "—"

    @admin.display(description=_("spent"))
    def spent(self, row: QuotaWindow) -> str:
        return with_unknown(row.settled_microdollars, row.unknown_calls)

    @admin.display(description=_("reserved"))
    def reserved(self, row: QuotaWindow) -> str:
        return dollars(row.reserved_microdollars)

    @admin.display(description=_("limit"))
    def limit(self, row: Any) -> str:
        if not hasattr(row, "limit_now"):
            self.complete([row], None)
        return dollars(row.limit_now)

    @admin.display(description=_("used up"))
    def used(self, row: Any) -> str:
        if row.ends_at <= datetime.now(UTC):
            return two_lines("—", _("ended %s") % _minute(row.ends_at))
        until = _("begins anew %s") % _minute(row.ends_at)
        if self.limit(row) == "—":
            return two_lines("—", until)
        share = percent(row.settled_microdollars, row.limit_now)
        return two_lines(look.badge(f"{share:.1f} %", _tone(share)), until)

    @admin.action(description=_("Grant an extra day"), permissions=["refill"])
    def grant(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        done = 0
        for row in queryset:
            try:
                grant_extra_day(row, author=author_of(request))
            except WindowRefusedError as error:
                self.message_user(request, f"{row}: {error}", messages.ERROR)
            else:
                done += 1
        self._say(request, done)

    @admin.action(description=_("Begin anew"), permissions=["refill"])
    def reset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        author = author_of(request)
        self._say(request, sum(reset_window(row, author=author) for row in queryset))

    def _say(self, request: HttpRequest, count: int) -> None:
        text = ngettext(
            "%(count)d budget begins anew.", "%(count)d budgets begin anew.", count
        )
        self.message_user(request, text % {"count": count}, messages.SUCCESS)


def _minute(value: datetime) -> str:
    return f"{localtime(value):%Y-%m-%d %H:%M}"


def _tone(share: float) -> str:
    if share >= NEAR_END_PERCENT:
        return look.WARN if share < 100 else look.BAD  # noqa: PLR2004  percent
    return look.CALM


def _people_named(text: str) -> list[str]:
    """Return what budgets call the people of this installation with an address."""
    users = get_user_model()
    field = users.get_email_field_name() if "@" in text else ""
    if not field:
        return []
    found = users._default_manager.filter(**{f"{field}__iexact": text})
    return [person_of(None, actor_of_user(user)) for user in found[:10]]


@admin.register(PersonTier)
class PersonTierAdmin(PeopleColumn, ConflictAdmin):
    form = ConflictForm
    list_display = ["whom", "workspace", "tier", "pending_tier", "pending_at"]
    list_filter = ["tier", "workspace"]
    list_select_related = ["workspace"]
    search_fields = ["person"]
    autocomplete_fields = ["workspace"]
    fields = ["workspace", "person", "tier", "pending_tier", "pending_at"]

    def complete(self, rows: Sequence[Any], user: Any) -> None:
        self.name_people(rows)

    @admin.display(description=_("person"), ordering="person")
    def whom(self, row: PersonTier) -> str:
        return self.shown(row)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        waiting = ["pending_tier", "pending_at"]
        return waiting if obj is None else ["workspace", "person", *waiting]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> Any:
        row = change_tier(
            obj.workspace_id,
            obj.person,
            obj.tier,
            author=author_of(request),
            is_staff=True,
        )
        obj.__dict__.update(row.__dict__)


__all__ = ["PriceInline"]
