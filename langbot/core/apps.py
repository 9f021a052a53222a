from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CoreConfig(AppConfig):
    name = "langbot.core"
    label = "langbot_core"
    verbose_name = _("Workspaces and access")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from langbot import checks  # noqa: F401  registers the system checks
