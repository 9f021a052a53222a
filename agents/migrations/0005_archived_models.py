"""Models and providers that agents name are archived in place of deleted."""

from django.db import migrations, models
from django.db.models import Q

_IS_OFF = Q(("archived_at", None), ("enabled", False), _connector="OR")


def _archived() -> models.DateTimeField:
    return models.DateTimeField(editable=False, null=True, verbose_name="archived")


class Migration(migrations.Migration):
    dependencies = [("langbot_agents", "0004_plugin_packages")]

    operations = [
        migrations.AddField("modelprovider", "archived_at", _archived()),
        migrations.AddField("model", "archived_at", _archived()),
        migrations.AddConstraint(
            "modelprovider",
            models.CheckConstraint(
                condition=_IS_OFF, name="langbot_provider_archived_is_off"
            ),
        ),
        migrations.AddConstraint(
            "model",
            models.CheckConstraint(
                condition=_IS_OFF, name="langbot_model_archived_is_off"
            ),
        ),
    ]
