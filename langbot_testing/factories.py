"""Rows for tests, made by the services that the admin and REST use."""

from itertools import count
from typing import Any

from agents.bindings import save_binding
from agents.choices import BindingScope
from agents.models import Agent, AgentBinding
from agents.services import save_agent
from langbot.core.access import DEFAULT_WORKSPACE
from langbot.core.models import Workspace
from langbot_testing.fake_runner import RUNNER_ID
from platforms.models import Bot

AUTHOR = "tests"
_numbers = count(1)


def make_workspace(slug: str = DEFAULT_WORKSPACE, **fields: Any) -> Workspace:
    """Return the workspace of this slug, made when it is missing."""
    fields.setdefault("name", slug.replace("-", " ").title())
    return Workspace.objects.get_or_create(slug=slug, defaults=fields)[0]


def make_agent(slug: str = "", **fields: Any) -> Agent:
    """Return a saved agent on the fake runner; raises ValidationError.

    Its workspace is `default` and its name follows its slug, unless given.
    """
    slug = slug or f"agent-{next(_numbers)}"
    fields.setdefault("workspace", make_workspace())
    fields.setdefault("name", slug.replace("-", " ").title())
    fields.setdefault("runner_id", RUNNER_ID)
    return save_agent(Agent(slug=slug, **fields), author=AUTHOR)


def make_binding(
    agent: Agent, scope: str = BindingScope.WORKSPACE, **fields: Any
) -> AgentBinding:
    """Return a saved binding; raises ValidationError, as for a tie.

    `scope_ref` is the bot's slug where the scope is `bot`.
    """
    binding = AgentBinding(agent=agent, scope=scope, **fields)
    return save_binding(binding, author=AUTHOR)


def make_bot(slug: str = "", **fields: Any) -> Bot:
    """Return a saved web-chat bot in the workspace `default`, unless given."""
    slug = slug or f"bot-{next(_numbers)}"
    fields.setdefault("workspace", make_workspace())
    fields.setdefault("name", slug.replace("-", " ").title())
    fields.setdefault("adapter", "web")
    return Bot.objects.create(slug=slug, **fields)
