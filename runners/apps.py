from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RunnersConfig(AppConfig):
    name = "runners"
    label = "langbot_runners"
    verbose_name = _("Runs and history")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from langbot.core import audit_chain, retention
        from runners.engine import sweeps
        from runners.engine.adoption import finish_stuck_cancels
        from runners.ledger.claims import prune_nodes

        sweeps.register("stuck-cancels", seconds=2.0, function=finish_stuck_cancels)
        sweeps.register("audit-seals", seconds=60.0, function=audit_chain.seal_all)
        sweeps.register("retention", seconds=3600.0, function=retention.purge_all)
        retention.register("worker nodes", prune_nodes)
