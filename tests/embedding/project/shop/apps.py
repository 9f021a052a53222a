from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class ShopConfig(AppConfig):
    name = "shop"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        from shop import receivers  # noqa: F401  connects them


class OfficeConfig(AdminConfig):
    default_site = "shop.office.OfficeSite"
