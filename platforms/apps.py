from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PlatformsConfig(AppConfig):
    name = "platforms"
    label = "langbot_platforms"
    verbose_name = _("Platforms")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from langbot.core import retention
        from platforms.actions import BotActions
        from platforms.adapters import registry
        from platforms.adapters.web.adapter import WebAdapter
        from platforms.adapters.webhook.adapter import WebhookAdapter
        from platforms.asking import ask_elsewhere
        from platforms.bots import bot_ref, bots_of_workspace
        from platforms.notices import register_notices
        from platforms.sending import send_due
        from runners.bots import register_bot_list, register_bots
        from runners.engine import sweeps
        from runners.platform_actions import register_platform_actions

        register_notices()
        register_bots(bot_ref)
        register_bot_list(bots_of_workspace)
        register_platform_actions(BotActions())
        registry.register(WebAdapter())
        registry.register(WebhookAdapter())
        sweeps.register("asking", seconds=2.0, function=ask_elsewhere)
        sweeps.register("deliveries", seconds=2.0, function=send_due)
        retention.keep("people make and archive them", "langbot_platforms.Bot")
