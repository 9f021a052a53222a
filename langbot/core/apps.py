from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CoreConfig(AppConfig):
    name = "langbot.core"
    label = "langbot_core"
    verbose_name = _("Workspaces and access")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.db.models.signals import post_migrate

        from langbot import checks  # noqa: F401  registers the system checks
        from langbot.core import access, audit_chain, mailing, retention, roles
        from langbot.lib import boundary, sealed

        sealed.register("langbot_core.IdempotencyKey", "answer", "sealed")
        boundary.use(access.TenantBoundary())
        retention.register_core()
        retention.register(
            "audit entries", audit_chain.purge_due, "langbot_core.AuditLog"
        )
        retention.register(
            "notifications", mailing.purge_due, "langbot_core.Notification"
        )
        post_migrate.connect(
            roles.grant_rights, sender=self, dispatch_uid="langbot_core.roles"
        )
