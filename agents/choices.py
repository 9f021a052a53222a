from django.db import models
from django.utils.translation import gettext_lazy as _


class SessionScope(models.TextChoices):
    """Who shares one conversation of a group."""

    SHARED = "shared", _("everyone in the conversation")
    ACTOR = "actor", _("each person separately")


class MultitaskStrategy(models.TextChoices):
    """What a second message does while a run of its conversation is under way."""

    ENQUEUE = "enqueue", _("wait for the answer before")
    REJECT = "reject", _("be refused")
    INTERRUPT = "interrupt", _("stop the answer before and keep what was said")
    ROLLBACK = "rollback", _("stop the answer before and forget that turn")


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


class UsageWindow(models.TextChoices):
    """How long a quota counts; both begin at midnight UTC (AG-84)."""

    DAILY = "daily", _("a day")
    WEEKLY = "weekly", _("a week from Monday")


class QuotaScope(models.TextChoices):
    """Whose model calls a quota counts together."""

    WORKSPACE = "workspace", _("the whole workspace")
    AGENT = "agent", _("one agent")
    USER = "user", _("each person, or one")
    TIER = "tier", _("each person of a tier")


class Tier(models.TextChoices):
    """What a person's base limit is multiplied for, lowest first (AG-87)."""

    FREE = "free", _("Free")
    PRO = "pro", _("Pro")
    BUSINESS = "business", _("Business")
    ENTERPRISE = "enterprise", _("Enterprise")


class CostSource(models.TextChoices):
    """Who says what a model call cost."""

    PROVIDER = "provider", _("the provider's answer")
    PRICE = "price", _("tokens and price")
    FREE = "free", _("costs nothing")
    MISSING = "missing", _("cost unknown")


class CallOutcome(models.TextChoices):
    """How a model call ended."""

    COMPLETED = "completed", _("answered")
    CUT_OFF = "cut_off", _("cut off")
    FAILED = "failed", _("failed")
    LOST = "lost", _("lost with its worker")
