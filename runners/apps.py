from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RunnersConfig(AppConfig):
    name = "runners"
    label = "langbot_runners"
    verbose_name = _("Runs and history")
    default_auto_field = "django.db.models.BigAutoField"
