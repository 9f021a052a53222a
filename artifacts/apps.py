from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ArtifactsConfig(AppConfig):
    name = "artifacts"
    label = "langbot_artifacts"
    verbose_name = _("Artifacts")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from artifacts import store
        from langbot.core import retention

        retention.register(
            "artifacts", store.purge_due, "langbot_artifacts.Artifact", order=30
        )
        retention.register("blobs without artifact", store.purge_orphans, order=31)
