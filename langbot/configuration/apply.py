"""From a document to the rows of a workspace, whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from agents.bindings import lock_places
from agents.models import Agent, RunnerDescriptor
from agents.registry.config_schema import is_empty, read_schema
from agents.services import save_agent, unarchive_agent
from langbot.configuration.bindings import BindingChanges
from langbot.configuration.documents import (
    AgentDocument,
    BotDocument,
    ConfigurationDocument,
)
from langbot.configuration.export import objects_of, says_nothing_new, shown
from langbot.configuration.limits import save_quota, save_retention
from langbot.configuration.providers import save_provider
from langbot.configuration.references import ModelReferences
from langbot.core.models import Workspace
from langbot.lib.differences import differences
from platforms.models import Bot
from platforms.services import save_bot, schema_of, unarchive_bot


@dataclass(frozen=True, slots=True)
class Applied:
    """What an application changed, or would change.

    `changes` has `{"object", "action": created | changed | removed, "differences"}`,
    `warnings` `{"object", "code", "detail"}` for what still needs a person.
    """

    changes: list[dict[str, Any]]
    warnings: list[dict[str, str]]


def apply_configuration(
    workspace: Workspace,
    document: ConfigurationDocument,
    *,
    author: str,
    dry_run: bool = False,
    may_bind_globally: bool = True,
) -> Applied:
    """Make the workspace what the document says; what it does not name stays.

    Idempotent. A dry run does all of it and takes it back. Raises ValidationError
    with every problem, keyed by object and field, and PermissionDenied.
    """
    with transaction.atomic():
        lock_places(workspace.pk)
        before = objects_of(workspace)
        work = _Application(workspace, author, may_bind_globally)
        work.run(document)
        changes = list(_changes(before, objects_of(workspace)))
        warnings = list(_warnings(workspace, document))
        transaction.set_rollback(dry_run)
    return Applied(changes, warnings)


@dataclass
class _Application:
    workspace: Workspace
    author: str
    may_bind_globally: bool
    problems: dict[str, list[Any]] = field(default_factory=dict)

    def run(self, document: ConfigurationDocument) -> None:
        """Write everything; raises ValidationError with all problems at the end."""
        for provider in document.providers:
            with self._problems_of(f"providers.{provider.name}"):
                save_provider(self.workspace, provider, author=self.author)
        for bot in document.bots:
            with self._problems_of(f"bots.{bot.slug}"):
                self._save_bot(bot)
        self._save_agents(document.agents)
        self._save_limits(document)
        if self.problems:
            raise ValidationError(self.problems)

    def _save_agents(self, documents: list[AgentDocument]) -> None:
        references = ModelReferences(self.workspace)
        bindings = BindingChanges(
            self.workspace, self.author, may_bind_globally=self.may_bind_globally
        )
        for agent in documents:
            with self._problems_of(f"agents.{agent.slug}"):
                bindings.prepare(agent, references)
        for agent in documents:
            with self._problems_of(f"agents.{agent.slug}"):
                self._save_agent(agent, references)
        for agent in documents:
            with self._problems_of(f"agents.{agent.slug}.bindings"):
                bindings.save(agent)

    def _save_limits(self, document: ConfigurationDocument) -> None:
        for quota in document.quotas:
            with self._problems_of(f"quotas.{quota.label}"):
                save_quota(self.workspace, quota, author=self.author)
        if document.retention is not None:
            with self._problems_of("retention"):
                save_retention(self.workspace, document.retention, author=self.author)

    def _save_bot(self, wanted: BotDocument) -> None:
        bot = Bot.objects.filter(workspace=self.workspace, slug=wanted.slug).first()
        if bot is not None and says_nothing_new(wanted, bot):
            return
        if bot is None:
            bot = Bot(workspace=self.workspace)
        elif bot.archived_at is not None:
            bot = unarchive_bot(bot, author=self.author)
        for name in ("slug", "name", "adapter", "enabled"):
            setattr(bot, name, getattr(wanted, name))
        save_bot(bot, author=self.author, settings=wanted.config, secrets_later=True)

    def _save_agent(self, wanted: AgentDocument, references: ModelReferences) -> None:
        mine = Agent.objects.filter(workspace=self.workspace, slug=wanted.slug)
        agent = mine.first()
        if agent is not None and says_nothing_new(wanted, agent, references):
            return
        if agent is None:
            agent = Agent(workspace=self.workspace)
        elif agent.archived_at is not None:
            agent = unarchive_agent(agent, author=self.author)
        content = wanted.model_dump(exclude={"bindings", "runner"})
        for name in ("runner_config", "resource_policy"):
            content[name] = references.to_ids(content[name])
        for name, value in {**content, "runner_id": wanted.runner}.items():
            setattr(agent, name, value)
        save_agent(agent, author=self.author, secrets_later=True)

    @contextmanager
    def _problems_of(self, place: str) -> Iterator[None]:
        """Collect what is wrong with one object, and go on with the next."""
        try:
            with transaction.atomic():
                yield
        except ValidationError as error:
            if not hasattr(error, "error_dict"):
                self.problems.setdefault(place, []).extend(error.messages)
                return
            for name, messages in error.message_dict.items():
                where = place if name == "__all__" else f"{place}.{name}"
                self.problems.setdefault(where, []).extend(messages)


def _changes(
    before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        found = differences(old or {}, new or {})
        if found or (old is None) != (new is None):
            action = "changed" if old and new else "created" if new else "removed"
            yield {"object": path, "action": action, "differences": shown(found)}


def _warnings(
    workspace: Workspace, document: ConfigurationDocument
) -> Iterator[dict[str, str]]:
    bots = Bot.objects.filter(
        workspace=workspace, slug__in=[bot.slug for bot in document.bots]
    )
    for bot in bots.order_by("slug"):
        given = {**bot.config, **(bot.secrets or {})}
        yield from _missing(f"bots/{bot.slug}", schema_of(bot.adapter), given)
    agents = Agent.objects.filter(
        workspace=workspace, slug__in=[agent.slug for agent in document.agents]
    )
    schemas = dict(
        RunnerDescriptor.objects.filter(
            runner_id__in=agents.values("runner_id")
        ).values_list("runner_id", "config_schema")
    )
    for agent in agents.order_by("slug"):
        path, schema = f"agents/{agent.slug}", schemas.get(agent.runner_id)
        if schema is None:
            detail = _("No plugin has offered %(runner)s yet.")
            detail %= {"runner": agent.runner_id}
            yield {"object": path, "code": "runner_unknown", "detail": detail}
        else:
            yield from _missing(path, schema, agent.runner_config)


def _missing(
    path: str, schema: list[dict[str, Any]], given: dict[str, Any]
) -> Iterator[dict[str, str]]:
    for item in read_schema(schema):
        if item.is_secret and item.required and is_empty(given.get(item.name)):
            yield {"object": path, "code": "secret_missing", "detail": item.name}
