from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PlatformsConfig(AppConfig):
    name = "platforms"
    label = "langbot_platforms"
    verbose_name = _("Platforms")
    default_auto_field = "django.db.models.BigAutoField"
