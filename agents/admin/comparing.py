"""Two versions of an agent side by side, any two, and the way back to either."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.forms import Field
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.text import capfirst
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from pydantic import ValidationError as PolicyError

from agents.admin.insight import descriptor_of
from agents.config_secrets import mask_config
from agents.forms import AgentForm
from agents.models import POLICIES, Agent, AgentVersion
from agents.registry.config_schema import form_fields, read_schema
from agents.services import whole_content
from langbot.core.audited_admin import AuditedAdmin
from langbot.lib.forms import shown_value
from langbot.lib.side_by_side import Line, side_by_side

LISTED = 50  # versions below the comparison; older ones by their number
CONFIG = "runner_config"
Place = tuple[str, str]  # the name in the content, and the key inside an object


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs, as lines of text."""

    label: str
    lines: list[Line]


class ComparingAdmin(AuditedAdmin):
    """Adds `<agent>/versions/` to the pages of agents."""

    def get_urls(self) -> Any:
        view = self.admin_site.admin_view(self.versions_view)
        name = "langbot_agents_agent_versions"
        return [path("<int:pk>/versions/", view, name=name), *super().get_urls()]

    def versions_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Compare `?from=` with `?to=`: by default the last two."""
        agent = self.get_object(request, str(pk))
        if agent is None:
            raise Http404
        if not self.has_view_permission(request, agent):
            raise PermissionDenied
        right = _version(agent, request.GET.get("to"), agent.version)
        before = right.number - 1 if right is not None else 0
        left = _version(agent, request.GET.get("from"), before)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Versions of %(agent)s") % {"agent": agent},
            "opts": self.opts,
            "original": agent,
            "media": self.media,
            "agent": agent,
            "left": left,
            "right": right,
            "differences": _differences(agent, left, right),
            "versions": agent.versions.order_by("-number").defer("data")[:LISTED],
            "is_missing": _is_missing(request, left, right),
            "may_restore": agent.archived_at is None
            and self.has_change_permission(request, agent),
        }
        template = "admin/langbot_agents/versions.html"
        return TemplateResponse(request, template, context)


def _version(agent: Agent, given: str | None, usual: int) -> AgentVersion | None:
    number = int(given) if given and given.isdecimal() and len(given) < 10 else usual  # noqa: PLR2004  a column of 31 bits
    found: AgentVersion | None = agent.versions.filter(number=number).first()
    return found


def _is_missing(
    request: HttpRequest, left: AgentVersion | None, right: AgentVersion | None
) -> bool:
    asked = bool(request.GET.get("from") or request.GET.get("to"))
    return asked and (left is None or right is None)


def _differences(
    agent: Agent, left: AgentVersion | None, right: AgentVersion | None
) -> list[Difference]:
    if left is None or right is None:
        return []
    reader = _Reader(agent)
    before, after = (reader.values(whole_content(one)) for one in (left, right))
    found = []
    for place in {**before, **after}:
        texts = [reader.text(place, side.get(place)) for side in (before, after)]
        if texts[0] != texts[1]:
            found.append(Difference(reader.label(place), side_by_side(*texts)))
    return found


class _Reader:
    """Names and values of an agent's content as its form shows them."""

    def __init__(self, agent: Agent) -> None:
        runner = descriptor_of(agent)
        schema = runner.config_schema if runner is not None else []
        self.defaults = {item.name: item.default for item in read_schema(schema)}
        language = get_language() or "en"
        self.settings = form_fields(schema, language, workspace=agent.workspace)
        self.labels = {
            policy: AgentForm.base_fields[name].label
            for name, policy in AgentForm.POLICY_FIELDS.items()
        }

    def values(self, content: Mapping[str, Any]) -> dict[Place, Any]:
        """Return every value by its place, defaults filled in, secrets masked."""
        values: dict[Place, Any] = {}
        for name, value in content.items():
            if not isinstance(value, Mapping):
                values[name, ""] = value
                continue
            for key, part in self._filled(name, value).items():
                values[name, key] = part
        return values

    def _filled(self, name: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
        if name == CONFIG:
            return {**self.defaults, **mask_config(value)}
        with suppress(PolicyError):  # written before a policy became stricter
            return POLICIES[name].model_validate(value).model_dump()
        return value

    def label(self, place: Place) -> str:
        name, key = place
        if name == CONFIG:
            setting = self.settings.get(key)
            return str(setting.label) if setting is not None else key
        title = str(Agent._meta.get_field(name).verbose_name)  # type: ignore[union-attr]  # versions hold no relations
        found = f"{title}: {self.labels.get(place, key)}" if key else title
        return str(capfirst(found))

    def text(self, place: Place, value: Any) -> str:
        setting = self.settings.get(place[1]) if place[0] == CONFIG else None
        return shown_value(setting or Field(), value)
