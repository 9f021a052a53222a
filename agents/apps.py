from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AgentsConfig(AppConfig):
    name = "agents"
    label = "langbot_agents"
    verbose_name = _("Agents")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from agents.registry.connections import purge_gone
        from langbot.core import retention

        retention.register("plugin connections", purge_gone)
