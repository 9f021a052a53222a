"""The first page's list of what a person should look at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from agents.admin.insight import runner_label
from agents.admin.registry import online_runner_ids
from agents.models import Agent, Model, RunnerDescriptor
from agents.registry.config_schema import selected_models
from langbot.core.access import visible_rows
from langbot.lib import admin as look
from platforms.models import Bot
from runners.admin.overview_numbers import BAD, DAY, Numbers, recent
from runners.admin.overview_setup import living_workers
from runners.choices import DeliveryStatus, QueuedStatus, RunStatus
from runners.models import AgentRun, Delivery, QueuedMessage

MOST = 1_000  # counted; more are shown as so many and a plus
AGENTS = 500  # looked at
NAMED = 3  # agents or bots by name
_LONG = timedelta(minutes=1)  # that a run may wait for a worker


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to look at."""

    text: str
    url: str
    tone: str = look.WARN


def items_for(request: HttpRequest, today: Numbers | None) -> list[Item]:
    """Return what the person may see and should look at, gravest first.

    `today` are the runs of a window, counted already; None when they may not be seen.
    """
    user: Any = request.user
    checks: list[tuple[str, Callable[[Any], Iterator[Item]]]] = [
        ("langbot_runners.view_workernode", _workers),
        ("langbot_agents.view_agent", _runners),
        ("langbot_agents.view_agent", _models),
        ("langbot_runners.view_delivery", _deliveries),
        ("langbot_runners.view_agentrun", _runs),
        ("langbot_runners.view_queuedmessage", _messages),
        ("langbot_platforms.view_bot", _bots),
    ]
    items = list(_failed(today)) if today is not None else []
    for permission, check in checks:
        if user.has_perm(permission):
            items += check(user)
    return sorted(items, key=lambda item: item.tone != look.BAD)


def _failed(today: Numbers) -> Iterator[Item]:
    count = sum(today.statuses.get(status, 0) for status in BAD)
    if count:
        text = ngettext(
            "%(count)s run failed (%(window)s).",
            "%(count)s runs failed (%(window)s).",
            count,
        )
        url = reverse("admin:langbot_runners_agentrun_changelist")
        there = f"{url}?status__exact={RunStatus.FAILED}"
        named = {"count": count, "window": today.window.label}
        yield Item(text % named, there, look.BAD)


def _workers(_user: Any) -> Iterator[Item]:
    if not living_workers().exists():
        text = _("No worker is alive: messages are accepted, nobody answers them.")
        url = reverse("admin:langbot_runners_workernode_changelist")
        yield Item(text, url, look.BAD)


def _runs(user: Any) -> Iterator[Item]:
    url = reverse("admin:langbot_runners_agentrun_changelist")
    asked = AgentRun.objects.filter(status=RunStatus.REQUIRES_ACTION)
    count, shown = _count(visible_rows(user, asked))
    if count:
        text = ngettext(
            "%(count)s run waits for a person.",
            "%(count)s runs wait for a person.",
            count,
        )
        there = f"{url}?status__exact={RunStatus.REQUIRES_ACTION}"
        yield Item(text % {"count": shown}, there)
    since = datetime.now(UTC) - _LONG
    late = AgentRun.objects.filter(status=RunStatus.QUEUED, queued_at__lt=since)
    count, shown = _count(visible_rows(user, late))
    if count:
        text = ngettext(
            "%(count)s run has waited for more than a minute.",
            "%(count)s runs have waited for more than a minute.",
            count,
        )
        there = f"{url}?status__exact={RunStatus.QUEUED}"
        yield Item(text % {"count": shown}, there)


def _messages(user: Any) -> Iterator[Item]:
    waiting = QueuedMessage.objects.filter(status=QueuedStatus.QUEUED)
    count, shown = _count(visible_rows(user, waiting))
    if count:
        text = ngettext(
            "%(count)s message waits for the run before it.",
            "%(count)s messages wait for the run before them.",
            count,
        )
        url = reverse("admin:langbot_runners_queuedmessage_changelist")
        there = f"{url}?status__exact={QueuedStatus.QUEUED}"
        yield Item(text % {"count": shown}, there, look.CALM)


def _deliveries(user: Any) -> Iterator[Item]:
    today = recent(user, Delivery, datetime.now(UTC) - DAY.length)
    url = reverse("admin:langbot_runners_delivery_changelist")
    failed, shown = _count(today.filter(status=DeliveryStatus.FAILED))
    if failed:
        text = ngettext(
            "%(count)s reply could not be delivered in the last 24 hours.",
            "%(count)s replies could not be delivered in the last 24 hours.",
            failed,
        )
        there = f"{url}?status__exact={DeliveryStatus.FAILED}"
        yield Item(text % {"count": shown}, there, look.BAD)
    unclear, shown = _count(today.filter(status=DeliveryStatus.UNCERTAIN))
    if unclear:
        text = ngettext(
            "Of %(count)s reply it is unclear whether it arrived.",
            "Of %(count)s replies it is unclear whether they arrived.",
            unclear,
        )
        there = f"{url}?status__exact={DeliveryStatus.UNCERTAIN}"
        yield Item(text % {"count": shown}, there)


def _runners(user: Any) -> Iterator[Item]:
    agents: dict[str, list[str]] = {}
    for runner_id, name in _agents(user).values_list("runner_id", "name")[:AGENTS]:
        agents.setdefault(runner_id, []).append(name)
    rows = RunnerDescriptor.objects.filter(runner_id__in=agents)
    known = {runner.runner_id: runner for runner in rows}
    online = online_runner_ids()
    for runner_id, names in agents.items():
        text = _trouble(known.get(runner_id), is_online=runner_id in online)
        if text:
            named = {
                "runner": runner_label(known.get(runner_id), runner_id),
                "agents": _named(names),
            }
            yield Item(text % named, _agents_url(runner_id), look.BAD)


def _trouble(runner: RunnerDescriptor | None, *, is_online: bool) -> str:
    if runner is None:
        return _("No plugin ever offered the runner %(runner)s of %(agents)s.")
    if runner.last_error:
        return _("The host refuses the runner %(runner)s of %(agents)s.")
    if not runner.enabled:
        return _("The runner %(runner)s of %(agents)s is switched off.")
    return "" if is_online else _("The runner %(runner)s of %(agents)s is offline.")


def _models(user: Any) -> Iterator[Item]:
    wanted: dict[str, list[Agent]] = {}
    schemas = dict(RunnerDescriptor.objects.values_list("runner_id", "config_schema"))
    for agent in _agents(user)[:AGENTS]:
        schema = schemas.get(agent.runner_id, [])
        for name in selected_models(schema, agent.runner_config):
            wanted.setdefault(name, []).append(agent)
    usable = Model.objects.filter(enabled=True, provider__enabled=True)
    known = {str(one) for one in usable.values_list("public_id", flat=True)}
    broken = {a.pk: a for name in wanted.keys() - known for a in wanted[name]}
    if broken:
        text = _("A model that %(agents)s names does not exist or is switched off.")
        agents = list(broken.values())
        url = reverse("admin:langbot_agents_agent_changelist")
        if len(agents) == 1:
            page = "admin:langbot_agents_agent_change"
            url = reverse(page, args=[agents[0].pk])
        yield Item(text % {"agents": _named([a.name for a in agents])}, url)


def _bots(user: Any) -> Iterator[Item]:
    troubled = Bot.objects.filter(enabled=True).exclude(last_error="")
    names = list(visible_rows(user, troubled).values_list("name", flat=True)[:MOST])
    if names:
        text = _("The platform of %(bots)s reported a problem.")
        url = reverse("admin:langbot_platforms_bot_changelist")
        yield Item(text % {"bots": _named(names)}, url)


def _agents(user: Any) -> QuerySet[Agent]:
    return visible_rows(user, Agent.objects.filter(enabled=True, archived_at=None))


def _agents_url(runner_id: str) -> str:
    return f"{reverse('admin:langbot_agents_agent_changelist')}?q={runner_id}"


def _named(names: list[str]) -> str:
    more = len(names) - NAMED
    shown = ", ".join(names[:NAMED])
    return f"{shown} +{more}" if more > 0 else shown


def _count(rows: QuerySet[Any]) -> tuple[int, str]:
    count = rows.order_by()[: MOST + 1].count()
    return count, str(count) if count <= MOST else f"{MOST}+"
