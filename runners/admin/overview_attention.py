"""The first page's list of what a person should look at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from agents.admin.insight import runner_label
from agents.models import Agent, Model, RunnerDescriptor
from agents.registry.config_schema import selected_models
from langbot.core.access import visible_rows
from langbot.lib import admin as look
from platforms.models import Bot
from runners.action_forms import title_of
from runners.admin.overview_facts import MOST, Facts
from runners.admin.overview_numbers import BAD, Numbers
from runners.admin.waiting import waiting_count
from runners.choices import ActionStatus, DeliveryStatus, QueuedStatus, RunStatus

NAMED = 3  # agents or bots by name


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to look at."""

    text: str
    url: str
    tone: str = look.WARN


def items_for(facts: Facts, today: Numbers | None) -> list[Item]:
    """Return what the person may see and should look at, gravest first.

    `today` are the runs of a window, counted already; None when they may not be seen.
    """
    checks: list[tuple[str, Callable[[Facts], Iterator[Item]]]] = [
        ("langbot_runners.view_workernode", _workers),
        ("langbot_agents.view_agent", _runners),
        ("langbot_agents.view_agent", _models),
        ("langbot_runners.view_delivery", _deliveries),
        ("langbot_runners.view_pendingaction", _actions),
        ("langbot_runners.view_agentrun", _runs),
        ("langbot_runners.view_queuedmessage", _messages),
        ("langbot_platforms.view_bot", _bots),
    ]
    items = list(_failed(today)) if today is not None else []
    for permission, check in checks:
        if facts.user.has_perm(permission):
            items += check(facts)
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


def _workers(facts: Facts) -> Iterator[Item]:
    if not facts.counts["workers"]:
        text = _("No worker is alive: messages are accepted, nobody answers them.")
        url = reverse("admin:langbot_runners_workernode_changelist")
        yield Item(text, url, look.BAD)


def _runs(facts: Facts) -> Iterator[Item]:
    url = reverse("admin:langbot_runners_agentrun_changelist")
    count, shown = facts.count("late")
    if count:
        text = ngettext(
            "%(count)s run has waited for more than a minute.",
            "%(count)s runs have waited for more than a minute.",
            count,
        )
        there = f"{url}?status__exact={RunStatus.QUEUED}"
        yield Item(text % {"count": shown}, there)


def _actions(facts: Facts) -> Iterator[Item]:
    """Yield what waits for a decision: a link for each, or one where they are many."""
    count, shown = waiting_count(facts.user)
    if 0 < count <= NAMED:
        rows = facts.waiting_actions().select_related("agent")
        for action in rows.only("kind", "tool_name", "form", "agent__name"):
            text = _("A decision waits at %(agent)s: %(what)s")
            named = {"agent": action.agent.name, "what": title_of(action)}
            there = reverse(
                "admin:langbot_runners_pendingaction_change", args=[action.pk]
            )
            yield Item(text % named, there)
    elif count:
        url = reverse("admin:langbot_runners_pendingaction_changelist")
        text = ngettext(
            "%(count)s decision waits for a person.",
            "%(count)s decisions wait for a person.",
            count,
        )
        there = f"{url}?status__exact={ActionStatus.OPEN}"
        yield Item(text % {"count": shown}, there)


def _messages(facts: Facts) -> Iterator[Item]:
    count, shown = facts.count("messages")
    if count:
        text = ngettext(
            "%(count)s message waits for the run before it.",
            "%(count)s messages wait for the run before them.",
            count,
        )
        url = reverse("admin:langbot_runners_queuedmessage_changelist")
        there = f"{url}?status__exact={QueuedStatus.QUEUED}"
        yield Item(text % {"count": shown}, there, look.CALM)


def _deliveries(facts: Facts) -> Iterator[Item]:
    url = reverse("admin:langbot_runners_delivery_changelist")
    failed, shown = facts.count("failed")
    if failed:
        text = ngettext(
            "%(count)s reply could not be delivered in the last 24 hours.",
            "%(count)s replies could not be delivered in the last 24 hours.",
            failed,
        )
        there = f"{url}?status__exact={DeliveryStatus.FAILED}"
        yield Item(text % {"count": shown}, there, look.BAD)
    unclear, shown = facts.count("unclear")
    if unclear:
        text = ngettext(
            "Of %(count)s reply it is unclear whether it arrived.",
            "Of %(count)s replies it is unclear whether they arrived.",
            unclear,
        )
        there = f"{url}?status__exact={DeliveryStatus.UNCERTAIN}"
        yield Item(text % {"count": shown}, there)


def _runners(facts: Facts) -> Iterator[Item]:
    agents: dict[str, list[str]] = {}
    for agent in facts.agents:
        agents.setdefault(agent.runner_id, []).append(agent.name)
    for runner_id, names in agents.items():
        runner = facts.runners.get(runner_id)
        text = _trouble(runner, is_online=runner_id in facts.online)
        if text:
            named = {
                "runner": runner_label(runner, runner_id),
                "agents": _named(names),
            }
            yield Item(text % named, _agents_url(runner_id), look.BAD)


def _trouble(runner: RunnerDescriptor | None, *, is_online: bool) -> str:
    if runner is None:
        return _("No plugin ever offered the runner %(runner)s of %(agents)s.")
    if runner.last_error:
        return _("The host refuses the runner %(runner)s of %(agents)s.")
    if runner.archived_at is not None:
        return _("The plugin of the runner %(runner)s of %(agents)s was removed.")
    if not runner.is_usable:
        return _("The runner %(runner)s of %(agents)s is switched off.")
    return "" if is_online else _("The runner %(runner)s of %(agents)s is offline.")


def _models(facts: Facts) -> Iterator[Item]:
    wanted: dict[str, list[Agent]] = {}
    for agent in facts.agents:
        runner = facts.runners.get(agent.runner_id)
        schema = runner.config_schema if runner is not None else []
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


def _bots(facts: Facts) -> Iterator[Item]:
    troubled = Bot.objects.filter(enabled=True).exclude(last_error="")
    names = list(
        visible_rows(facts.user, troubled).values_list("name", flat=True)[:MOST]
    )
    if names:
        text = _("The platform of %(bots)s reported a problem.")
        url = reverse("admin:langbot_platforms_bot_changelist")
        yield Item(text % {"bots": _named(names)}, url)


def _agents_url(runner_id: str) -> str:
    return f"{reverse('admin:langbot_agents_agent_changelist')}?q={runner_id}"


def _named(names: list[str]) -> str:
    more = len(names) - NAMED
    shown = ", ".join(names[:NAMED])
    return f"{shown} +{more}" if more > 0 else shown
