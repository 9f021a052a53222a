from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _


class AgentsConfig(AppConfig):
    name = "agents"
    label = "langbot_agents"
    verbose_name = _("Agents")
    default_auto_field = "django.db.models.BigAutoField"

    def import_models(self) -> None:
        super().import_models()
        # Its folder `models` hides our module: no check would ever run.
        if not hasattr(self.models_module, "AgentBinding"):
            message = (
                "Another package called 'agents' is installed, such as openai-agents, "
                "and hides this host's (langbot.W001). Use an environment of its own."
            )
            raise ImproperlyConfigured(message)

    def ready(self) -> None:
        from agents.registry.connections import purge_gone
        from agents.retention import register_catalogue
        from langbot.core import retention
        from langbot.lib import sealed

        retention.register(
            "plugin connections", purge_gone, "langbot_agents.PluginConnection"
        )
        register_catalogue()
        sealed.register("langbot_agents.Agent", "runner_config", "$secret")
