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


class RunnerRisk(models.TextChoices):
    """What a runner could do to the machine that it runs on (LB-161)."""

    ORDINARY = "ordinary", _("ordinary")
    HARNESS = "harness", _("executes code")


class BuildStatus(models.TextChoices):
    """A version of a package: waiting → building → ready | failed; ready → removed."""

    WAITING = "waiting", _("waits to be built")
    BUILDING = "building", _("is being built")
    READY = "ready", _("built")
    FAILED = "failed", _("not built")
    REMOVED = "removed", _("removed")


class ProcessStatus(models.TextChoices):
    """What the process of a package does, as its supervisor last saw it."""

    STOPPED = "stopped", _("stopped")
    RUNNING = "running", _("running")
    RESTARTING = "restarting", _("restarts soon")
