from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RunnersConfig(AppConfig):
    name = "runners"
    label = "langbot_runners"
    verbose_name = _("Runs and history")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from langbot.core import audit_chain, retention
        from langbot.lib import sealed
        from runners.engine import sweeps
        from runners.engine.adoption import finish_stuck_cancels
        from runners.ledger.claims import prune_nodes
        from runners.runtimes import leases, registry

        sweeps.register("stuck-cancels", seconds=2.0, function=finish_stuck_cancels)
        sweeps.register("remote-leases", seconds=1.0, function=leases.sweep)
        sweeps.register("audit-seals", seconds=60.0, function=audit_chain.seal_all)
        sweeps.register("retention", seconds=3600.0, function=retention.sweep)
        retention.register("worker nodes", prune_nodes)
        sealed.register("langbot_runners.AgentRun", "snapshot", "$secret")
        retention.register("remote runtimes", registry.purge_gone)
