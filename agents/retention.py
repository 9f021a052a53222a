"""What the catalogue of agents forgets, and what it keeps for good."""

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from agents.choices import ConnectionStatus
from agents.models import (
    PluginConnection,
    PluginStorage,
    PluginToken,
    QuotaWindow,
    UsageRecord,
)
from langbot.core import retention
from langbot.core.retention import TOKEN_DAYS, delete_batches, due_before, old_rows

WINDOW_DAYS = 90  # a closed window stays to be looked at


def purge_plugin_tokens() -> int:
    """Delete tokens that were revoked or ran out a season ago, none that is in use."""
    before = Now() - timedelta(days=TOKEN_DAYS)
    over = PluginToken.objects.filter(
        Q(revoked_at__lt=before) | Q(expires_at__lt=before)
    )
    online = PluginConnection.objects.filter(status=ConnectionStatus.ONLINE)
    unused = over.exclude(pk__in=online.values("token"))
    removed = 0
    for key in list(unused.values_list("pk", flat=True)):
        delete_batches(PluginConnection.objects.filter(token=key))
        removed += (
            PluginToken.objects.filter(pk=key)
            .delete()[1]
            .get(PluginToken._meta.label, 0)
        )
    return removed


def purge_storage() -> int:
    """Delete stored values that nobody wrote for as long as the workspace says."""
    removed = 0
    for workspace, before in due_before("state_days").items():
        rows = PluginStorage.objects.filter(workspace=workspace, updated_at__lt=before)
        removed += delete_batches(rows)
    return removed


def purge_usage() -> int:
    """Delete what old model calls used and cost."""
    removed = 0
    for workspace, before in due_before("usage_days").items():
        for keys in old_rows(UsageRecord.objects.filter(workspace=workspace), before):
            removed += UsageRecord.objects.filter(pk__in=keys).purge()
    return removed


def purge_quota_windows() -> int:
    """Delete windows of budgets that ended a season ago; the records tell the rest."""
    before = Now() - timedelta(days=WINDOW_DAYS)
    return delete_batches(QuotaWindow.objects.filter(ends_at__lt=before))


def register_catalogue() -> None:
    """Register the rules of this app; called when Django is ready."""
    own = "langbot_agents."
    retention.register("plugin tokens", purge_plugin_tokens, f"{own}PluginToken")
    retention.register("plugin storage", purge_storage, f"{own}PluginStorage")
    retention.register("usage records", purge_usage, f"{own}UsageRecord")
    retention.register("quota windows", purge_quota_windows, f"{own}QuotaWindow")
    retention.keep("settled when the call ends", f"{own}OpenModelCall")
    people = ("Agent", "AgentBinding", "ModelProvider", "Model", "ModelPrice")
    retention.keep(
        "people make, archive and remove them",
        *(f"{own}{name}" for name in (*people, "Quota", "PersonTier")),
    )
    retention.keep("runs name the version they used", f"{own}AgentVersion")
    retention.keep(
        "one for each plugin or runner, archived when it is removed",
        *(f"{own}{name}" for name in ("Plugin", "RunnerDescriptor", "PackageProcess")),
    )
    retention.keep(
        "one for each file that a person uploaded; its log is cut",
        f"{own}PackageVersion",
    )
