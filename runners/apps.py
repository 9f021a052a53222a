from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RunnersConfig(AppConfig):
    name = "runners"
    label = "langbot_runners"
    verbose_name = _("Runs and history")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from agents.resources.tools import tool_providers
        from langbot.core import audit_chain, mailing, retention
        from langbot.lib import sealed
        from runners.actions import expire_actions
        from runners.agent_tool_provider import AgentTools
        from runners.engine import sweeps
        from runners.engine.adoption import finish_stuck_cancels
        from runners.ledger.children import stop_orphans
        from runners.ledger.costs import sweep_lost_calls
        from runners.notices import register_notices
        from runners.retention import register_ledger
        from runners.runtimes import leases

        register_notices()
        sweeps.register("mail", seconds=10.0, function=mailing.sweep)
        sweeps.register("stuck-cancels", seconds=2.0, function=finish_stuck_cancels)
        sweeps.register("actions", seconds=2.0, function=expire_actions)
        tool_providers.register(AgentTools())
        sweeps.register("orphaned-sub-runs", seconds=2.0, function=stop_orphans)
        sweeps.register("remote-leases", seconds=1.0, function=leases.sweep)
        sweeps.register("lost-model-calls", seconds=10.0, function=sweep_lost_calls)
        sweeps.register("audit-seals", seconds=60.0, function=audit_chain.seal_all)
        sweeps.register("retention", seconds=3600.0, function=retention.sweep)
        register_ledger()
        sealed.register("langbot_runners.AgentRun", "snapshot", "$secret")
