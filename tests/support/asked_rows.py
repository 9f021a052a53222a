"""What runs of a running host ask people; called by `RunningHost.inside`."""

from typing import Any


def ask(text: str, kind: str = "approval") -> dict[str, Any]:
    """Let the run that answered a message ask something; returns what names it."""
    from platforms.asking import link_of
    from runners.models import AgentRun
    from tests.runners.admin_rows import make_action

    runs = AgentRun.objects.select_related("agent", "conversation")
    run = runs.filter(event__input__text=text).latest("pk")
    action = make_action(run, kind, reason="It costs money.")
    address = link_of(action.public_id, action.expires_at)
    return {"key": action.pk, "link": "/actions/" + address.split("/actions/")[1]}


def decision_of(key: int) -> dict[str, Any]:
    """Return what was decided about an action, and by whom."""
    from runners.models import PendingAction

    action = PendingAction.objects.get(pk=key)
    decision = action.decision or {}
    return {
        "status": action.status,
        "who": action.decided_by_name,
        "reason": decision.get("reason"),
        "values": decision.get("values"),
    }


def decide(key: int, decision: str) -> None:
    """Decide as somebody else does."""
    from runners.actions import Decider, Decision, resolve_action
    from runners.models import PendingAction

    action = PendingAction.objects.get(pk=key)
    given: Any = Decision(decision=decision)  # type: ignore[arg-type]  # of a test
    resolve_action(action.public_id, given, Decider(name="boss"))


def add_webhook_bot(url: str) -> None:
    """Add a bot whose replies go to `url`."""
    from langbot.core.models import Workspace
    from platforms.models import Bot

    bot = Bot(
        workspace=Workspace.objects.get(slug="default"),
        slug="hook",
        name="Hook",
        adapter="webhook",
        config={"url": url},
    )
    bot.secrets = {"secret": "a secret of the tests"}
    bot.save()


def ask_by_webhook() -> int:
    """Let a run of that bot ask something; returns the action's key."""
    from agents.models import Agent
    from platforms.models import Bot
    from runners.models import Conversation
    from tests.runners.admin_rows import make_action, make_run

    bot = Bot.objects.get(slug="hook")
    place = Conversation.objects.create(
        workspace=bot.workspace, key="hook room", bot_id=bot.public_id
    )
    agent = Agent.objects.get(slug="echo")
    run = make_run(agent, "requires_action", bot_id=bot.public_id, conversation=place)
    key: int = make_action(run).pk
    return key


def want_mails(username: str) -> None:
    """Let a person want every mail there is."""
    from django.contrib.auth import get_user_model

    from langbot.core.models import NotificationPreference, Workspace

    person = get_user_model()._default_manager.get(username=username)
    get_user_model()._default_manager.filter(pk=person.pk).update(
        email="boss@example.org"
    )
    default = Workspace.objects.get(slug="default")
    NotificationPreference.objects.create(workspace=default, user=person)


def lose_a_delivery() -> None:
    """Add a reply that could not be delivered."""
    from platforms.models import Bot
    from tests.platforms.receiver import delivery

    delivery(Bot.objects.get(slug="hook"), target="room|", status="failed")


def give_form(key: int, fields: list[dict[str, Any]]) -> None:
    """Let a question ask for these fields, with two buttons of its own."""
    from runners.models import PendingAction

    action = PendingAction.objects.get(pk=key)
    buttons = [
        {"id": "send", "label": "Send it", "style": "primary"},
        {"id": "later", "label": "Later", "style": "default"},
    ]
    form = {**(action.form or {}), "fields": fields, "actions": buttons}
    PendingAction.objects.filter(pk=key).update(form=form)
