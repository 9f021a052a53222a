"""What an agent is and when it answers. Registry and resources keep their own files."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from pydantic import BaseModel
from pydantic import ValidationError as PolicyError

from agents.choices import BindingScope, MultitaskStrategy, SessionScope
from agents.packages.models import PackageProcess, PackageVersion
from agents.policies import (
    ApprovalPolicy,
    DeliveryPolicy,
    ResourcePolicy,
    StatePolicy,
)
from agents.registry.models import (
    Plugin,
    PluginConnection,
    PluginToken,
    RunnerDescriptor,
)
from agents.resources.models import Model, ModelProvider
from agents.resources.quotas import PersonTier, Quota, QuotaWindow
from agents.resources.storage import PluginStorage
from agents.resources.usage import ModelPrice, OpenModelCall, UsageRecord
from langbot.core.models import Workspace
from langbot.lib.models import (
    AppendOnlyModel,
    AppendOnlyQuerySet,
    NaturalKeyModel,
    NaturalKeyQuerySet,
    PublicModel,
)

POLICIES: dict[str, type[BaseModel]] = {
    "resource_policy": ResourcePolicy,
    "state_policy": StatePolicy,
    "delivery_policy": DeliveryPolicy,
    "approval_policy": ApprovalPolicy,
}


def default_event_types() -> list[str]:
    """Answer messages only, unless an admin says otherwise (LB-07)."""
    return ["message.received"]


class Agent(PublicModel, NaturalKeyModel):
    """A runner with its configuration and rules. Every save makes a version."""

    NATURAL_KEY = ("slug",)

    workspace = models.ForeignKey(
        Workspace, models.PROTECT, related_name="agents", verbose_name=_("workspace")
    )
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("owner"),
    )
    slug = models.SlugField(_("slug"), unique=True)
    name = models.CharField(_("name"), max_length=200)
    description = models.TextField(_("description"), blank=True)
    enabled = models.BooleanField(_("enabled"), default=True)
    archived_at = models.DateTimeField(_("archived"), null=True, editable=False)
    runner_id = models.CharField(_("runner"), max_length=300)
    runner_config = models.JSONField(
        _("runner configuration"), default=dict, blank=True
    )
    resource_policy = models.JSONField(_("resources"), default=dict, blank=True)
    state_policy = models.JSONField(_("state"), default=dict, blank=True)
    delivery_policy = models.JSONField(_("delivery"), default=dict, blank=True)
    approval_policy = models.JSONField(_("approvals"), default=dict, blank=True)
    event_types = models.JSONField(_("event types"), default=default_event_types)
    session_scope = models.CharField(
        _("session scope"),
        max_length=10,
        choices=SessionScope.choices,
        default=SessionScope.SHARED,
    )
    multitask_strategy = models.CharField(
        _("second message"),
        max_length=10,
        choices=MultitaskStrategy.choices,
        default=MultitaskStrategy.ENQUEUE,
    )
    version = models.PositiveIntegerField(_("version"), default=0, editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    objects = NaturalKeyQuerySet["Agent"].as_manager()

    class Meta:
        verbose_name = _("agent")
        verbose_name_plural = _("agents")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        clean_policies(self, POLICIES)


class AgentVersionQuerySet(  # type: ignore[override]  # `as_manager` names its class
    AppendOnlyQuerySet["AgentVersion"], NaturalKeyQuerySet["AgentVersion"]
):
    """Refuses bulk changes; fixtures find its rows."""


class AgentVersion(AppendOnlyModel, NaturalKeyModel):
    """What an agent was after one save; runs name the version they used."""

    NATURAL_KEY = ("agent__slug", "number")

    agent = models.ForeignKey(
        Agent,
        models.CASCADE,
        related_name="versions",
        verbose_name=_("agent"),
        db_index=False,  # `langbot_agent_version_once` begins with it
    )
    number = models.PositiveIntegerField(_("version"))
    data = models.JSONField(_("content"))
    author = models.CharField(_("author"), max_length=200, blank=True)
    created_at = models.DateTimeField(_("time"), auto_now_add=True)

    objects = AgentVersionQuerySet.as_manager()

    class Meta:
        verbose_name = _("agent version")
        verbose_name_plural = _("agent versions")
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["agent", "number"], name="langbot_agent_version_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.agent} v{self.number}"


class AgentBinding(PublicModel, NaturalKeyModel):
    """Says which events an agent answers; host-internal, never sent to runners."""

    NATURAL_KEY = ("public_id",)  # several may have the same scope and pattern

    agent = models.ForeignKey(
        Agent, models.CASCADE, related_name="bindings", verbose_name=_("agent")
    )
    scope = models.CharField(_("scope"), max_length=10, choices=BindingScope.choices)
    scope_ref = models.CharField(
        _("scope reference"),
        max_length=100,
        blank=True,
        default="",
        help_text=_("The bot's slug; empty for the other scopes."),
    )
    event_pattern = models.CharField(
        _("event pattern"),
        max_length=100,
        default="message.received",
        help_text=_("An event type, or a pattern such as message.* or *."),
    )
    filters = models.JSONField(_("filters"), default=dict, blank=True)
    priority = models.IntegerField(_("priority"), default=0)
    enabled = models.BooleanField(_("enabled"), default=True)
    resource_policy = models.JSONField(_("narrower resources"), null=True, blank=True)
    state_policy = models.JSONField(_("narrower state"), null=True, blank=True)
    delivery_policy = models.JSONField(_("other delivery"), null=True, blank=True)

    objects = NaturalKeyQuerySet["AgentBinding"].as_manager()

    class Meta:
        verbose_name = _("binding")
        verbose_name_plural = _("bindings")
        ordering = ["scope", "scope_ref", "-priority"]
        indexes = [
            # every event asks for the bindings of its bot and its workspace
            models.Index(
                fields=["scope", "scope_ref"],
                condition=Q(enabled=True),
                name="langbot_binding_match",
            )
        ]

    def __str__(self) -> str:
        return (
            f"{self.scope}:{self.scope_ref or '*'} {self.event_pattern} → {self.agent}"
        )

    def clean(self) -> None:
        clean_policies(self, POLICIES)


def clean_policies(row: Any, policies: dict[str, type[BaseModel]]) -> None:
    """Raise a field error for each policy document that its schema refuses."""
    problems = {}
    for field, policy in policies.items():
        value = getattr(row, field, None)
        try:
            if value is not None:
                policy.model_validate(value)
        except PolicyError as error:
            problems[field] = [
                f"{'.'.join(map(str, issue['loc']))}: {issue['msg']}"
                for issue in error.errors()
            ]
    if problems:
        raise ValidationError(problems)


__all__ = [
    "Agent",
    "AgentBinding",
    "AgentVersion",
    "Model",
    "ModelPrice",
    "ModelProvider",
    "OpenModelCall",
    "PackageProcess",
    "PackageVersion",
    "PersonTier",
    "Plugin",
    "PluginConnection",
    "PluginStorage",
    "PluginToken",
    "Quota",
    "QuotaWindow",
    "RunnerDescriptor",
    "UsageRecord",
]
