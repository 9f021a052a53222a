"""Old pipelines become agents of a workspace, each for itself."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _

from agents.bindings import lock_places, save_binding
from agents.choices import BindingScope
from agents.models import Agent, AgentBinding, Model, RunnerDescriptor
from agents.registry.config_schema import read_schema, selected_models
from agents.services import save_agent
from langbot.configuration.legacy import LegacyAgent, LegacyBot, LegacyDocument
from langbot.core.models import Workspace
from platforms.models import Bot

_MODEL_SCHEMA = [{"name": "model", "type": "model-fallback-selector"}]


@dataclass(slots=True)
class Imported:
    """What came of each: `created`, `changed`, `unchanged`, `skipped`, `note`."""

    lines: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, outcome: str, what: str, why: str = "") -> None:
        self.lines.append((outcome, what, why))


def import_legacy(
    workspace: Workspace,
    document: LegacyDocument,
    *,
    author: str,
    dry_run: bool = False,
) -> Imported:
    """Make an agent of every pipeline, and a binding of every bot that named one.

    What is stored already wins, so that a repeat changes nothing and takes back
    nothing that people changed since. A bad pipeline is skipped and named. A dry run
    does all of it and takes it back.
    """
    with transaction.atomic():
        lock_places(workspace.pk)
        work = _Import(workspace, author)
        for name, why in document.problems:
            work.result.add("skipped", name, why)
        for wanted in document.agents:
            work.save_agent(wanted)
        for bot in document.bots:
            work.bind(bot)
        transaction.set_rollback(dry_run)
    return work.result


@dataclass
class _Import:
    workspace: Workspace
    author: str
    result: Imported = field(default_factory=Imported)
    agents: dict[str, Agent] = field(default_factory=dict)  # by old pipeline id

    def save_agent(self, wanted: LegacyAgent) -> None:
        what = f"agents/{wanted.slug}"
        try:
            with transaction.atomic():
                agent, outcome = self._saved(wanted, what)
        except ValidationError as error:
            self.result.add("skipped", what, " ".join(error.messages))
        else:
            self.agents[wanted.pipeline] = agent
            self.result.add(outcome, what)

    def _saved(self, wanted: LegacyAgent, what: str) -> tuple[Agent, str]:
        mine = Agent.objects.filter(workspace=self.workspace, slug=wanted.slug)
        agent = mine.first()
        if agent is not None and agent.runner_id != wanted.runner_id:
            message = _("There is an agent of this slug with another runner.")
            raise ValidationError(message)
        config = self._fitting(wanted, what, new=agent is None)
        if agent is not None:
            version = agent.version
            agent.runner_config = {**config, **agent.runner_config}
            save_agent(agent, author=self.author, secrets_later=True)
            return agent, "unchanged" if agent.version == version else "changed"
        agent = Agent(
            workspace=self.workspace,
            slug=wanted.slug,
            name=wanted.name,
            description=wanted.description,
            runner_id=wanted.runner_id,
            runner_config=config,
            state_policy=wanted.state_policy,
        )
        return save_agent(agent, author=self.author, secrets_later=True), "created"

    def _fitting(self, wanted: LegacyAgent, what: str, *, new: bool) -> dict[str, Any]:
        """Return the settings that the runner knows; others are named, not guessed."""
        config = dict(wanted.runner_config)
        runner = RunnerDescriptor.objects.filter(runner_id=wanted.runner_id).first()
        schema = runner.config_schema if runner is not None else None
        known = {item.name for item in read_schema(schema)} if schema else config.keys()
        left_out = sorted(config.keys() - known)
        missing = self._unknown_models(schema or _MODEL_SCHEMA, config)
        for name in [*left_out, *missing]:
            config.pop(name, None)
        if new and left_out:
            why = _("The runner has no such setting.")
            self.result.add("note", f"{what}: {', '.join(left_out)}", why)
        if new and missing:
            why = _("Its models are not in this workspace.")
            self.result.add("note", f"{what}: {', '.join(missing)}", why)
        return config

    def _unknown_models(
        self, schema: list[dict[str, Any]], config: dict[str, Any]
    ) -> list[str]:
        models = Model.objects.filter(provider__workspace=self.workspace)
        known = {str(one) for one in models.values_list("public_id", flat=True)}
        return [
            item.name
            for item in read_schema(schema)
            if selected_models([{"name": item.name, "type": item.type}], config) - known
        ]

    def bind(self, wanted: LegacyBot) -> None:
        what = f"bindings/{wanted.name}"
        agent = self.agents.get(wanted.pipeline)
        bot = next(self._bots_named(wanted.name), None)
        if agent is None or bot is None:
            why = _("There is no such bot.") if agent else _("There is no such agent.")
            self.result.add("skipped", what, why)
            return
        place = {"scope": BindingScope.BOT, "scope_ref": bot.slug}
        if agent.bindings.filter(**place).exists():
            self.result.add("unchanged", what)
            return
        try:
            with transaction.atomic():
                save_binding(AgentBinding(agent=agent, **place), author=self.author)
        except ValidationError as error:
            self.result.add("skipped", what, " ".join(error.messages))
        else:
            self.result.add("created", what)

    def _bots_named(self, name: str) -> Iterator[Bot]:
        """Yield the bots of that slug or that name; old ones had ids of their own."""
        bots = Bot.objects.filter(workspace=self.workspace, archived_at=None)
        yield from bots.filter(slug=slugify(name))
        yield from bots.filter(name=name).order_by("pk")
