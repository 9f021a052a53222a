"""The bindings of a document: all that its agents have, without ties on the way."""

import json
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.utils.translation import gettext as _

from agents.bindings import delete_binding, save_binding
from agents.choices import BindingScope
from agents.models import Agent, AgentBinding
from langbot.configuration.documents import AgentDocument
from langbot.configuration.export import binding_content
from langbot.configuration.references import ModelReferences
from langbot.core.audit import state_of
from langbot.core.models import Workspace
from platforms.models import Bot

Content = dict[str, Any]


class BindingChanges:
    """Which bindings go, change and come, for all agents of one document.

    What goes or changes is switched off before anything is written, so that two
    bindings may swap their priorities without a tie in between.
    """

    def __init__(
        self, workspace: Workspace, author: str, *, may_bind_globally: bool
    ) -> None:
        self._workspace = workspace
        self._author = author
        self._may_bind_globally = may_bind_globally
        self._old: dict[str, list[AgentBinding]] = {}
        self._new: dict[str, list[Content]] = {}

    def prepare(self, agent: AgentDocument, references: ModelReferences) -> None:
        """Compare and switch off; raises ValidationError for unknown references."""
        if agent.bindings is None:
            return
        wanted = [references.to_ids(one.model_dump()) for one in agent.bindings]
        stored = AgentBinding.objects.filter(
            agent__workspace=self._workspace, agent__slug=agent.slug
        )
        old = {_text(binding_content(row)): row for row in stored.order_by("pk")}
        new = {_text(content): content for content in wanted}
        self._old[agent.slug] = [row for text, row in old.items() if text not in new]
        self._new[agent.slug] = [one for text, one in new.items() if text not in old]
        self._check_permission(agent.slug)
        gone = [row.pk for row in self._old[agent.slug]]
        stored.filter(pk__in=gone).update(enabled=False)

    def save(self, document: AgentDocument) -> None:
        """Write what `prepare` found; raises ValidationError for a tie."""
        old = self._old.get(document.slug, [])
        for content in self._new.get(document.slug, []):
            row = _nearest(old, content)
            if row is not None:
                old.remove(row)
            self._save(row, document.slug, content)
        for row in old:
            delete_binding(row, author=self._author)

    def _save(self, row: AgentBinding | None, slug: str, content: Content) -> None:
        if content["scope"] == BindingScope.BOT:
            self._check_bot(content["scope_ref"])
        was = state_of(row) if row is not None else None  # before `prepare` touched it
        if row is None:
            agents = Agent.objects.filter(workspace=self._workspace, slug=slug)
            agent = agents.first()
            if agent is None:
                return  # it was refused, and that is said at its own place
            row = AgentBinding(agent=agent)
        for name, value in content.items():
            setattr(row, name, value)
        save_binding(row, author=self._author, was=was)

    def _check_bot(self, slug: str) -> None:
        bots = Bot.objects.filter(workspace=self._workspace, archived_at=None)
        if not bots.filter(slug=slug).exists():
            message = _("There is no such bot.")
            raise ValidationError({"scope_ref": f"{slug}: {message}"})

    def _check_permission(self, slug: str) -> None:
        scopes = {row.scope for row in self._old[slug]}
        scopes |= {content["scope"] for content in self._new[slug]}
        if BindingScope.GLOBAL in scopes and not self._may_bind_globally:
            raise PermissionDenied(_("Only staff may bind every workspace."))


def _text(content: Content) -> str:
    return json.dumps(content, sort_keys=True)


def _nearest(rows: list[AgentBinding], content: Content) -> AgentBinding | None:
    """Return the row that this content most likely was: its runs stay linked."""
    for names in (("scope", "scope_ref", "event_pattern"), ("scope", "scope_ref")):
        for row in rows:
            if all(getattr(row, name) == content[name] for name in names):
                return row
    return None
