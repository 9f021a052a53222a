from django.db import models
from django.utils.translation import gettext_lazy as _


class SessionScope(models.TextChoices):
    """Who shares one conversation of a group."""

    SHARED = "shared", _("everyone in the conversation")
    ACTOR = "actor", _("each person separately")


class BindingScope(models.TextChoices):
    """Where a binding applies, most specific first (`RANK` in matching)."""

    AGENT = "agent", _("events addressed to the agent")
    BOT = "bot", _("one bot")
    WORKSPACE = "workspace", _("the whole workspace")
    GLOBAL = "global", _("every workspace")


class ModelKind(models.TextChoices):
    LLM = "llm", _("language model")
    RERANK = "rerank", _("rerank model")
    EMBEDDING = "embedding", _("embedding model")


class ProviderKind(models.TextChoices):
    OPENAI = "openai", _("OpenAI-compatible")
    DEMO = "demo", _("offline demo")


class ConnectionStatus(models.TextChoices):
    ONLINE = "online", _("online")
    REFUSED = "refused", _("refused")
    OFFLINE = "offline", _("offline")
