"""Rows for tests, valid by themselves."""

import factory
from factory.django import DjangoModelFactory

from agents.models import Agent, AgentBinding
from langbot.core.models import Workspace
from platforms.models import Bot


class WorkspaceFactory(DjangoModelFactory[Workspace]):
    class Meta:
        model = Workspace
        django_get_or_create = ("slug",)

    slug = factory.Sequence("workspace-{}".format)
    name = factory.LazyAttribute(lambda row: row.slug.replace("-", " ").title())


class AgentFactory(DjangoModelFactory[Agent]):
    class Meta:
        model = Agent

    workspace = factory.SubFactory(WorkspaceFactory)
    slug = factory.Sequence("agent-{}".format)
    name = factory.LazyAttribute(lambda row: row.slug.replace("-", " ").title())
    runner_id = "plugin:langbot/echo/default"


class BotFactory(DjangoModelFactory[Bot]):
    class Meta:
        model = Bot

    workspace = factory.SubFactory(WorkspaceFactory)
    slug = factory.Sequence("bot-{}".format)
    name = factory.LazyAttribute(lambda row: row.slug.replace("-", " ").title())
    adapter = "web"


class AgentBindingFactory(DjangoModelFactory[AgentBinding]):
    class Meta:
        model = AgentBinding

    agent = factory.SubFactory(AgentFactory)
    scope = "workspace"
