import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("langbot_agents", "0001_initial"),
        ("langbot_core", "0002_permissions_and_audit_seals"),
    ]

    operations = [
        migrations.CreateModel(
            name="PluginStorage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("plugin", models.CharField(blank=True, max_length=200, verbose_name="plugin")),
                ("key", models.CharField(max_length=255, verbose_name="key")),
                ("value", models.BinaryField(verbose_name="value")),
                ("size", models.PositiveIntegerField(verbose_name="size (bytes)")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="changed")),
                ("workspace", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="langbot_core.workspace", verbose_name="workspace")),
            ],
            options={
                "verbose_name": "stored value",
                "verbose_name_plural": "plugin storage",
                "ordering": ["plugin", "key"],
                "constraints": [models.UniqueConstraint(fields=("workspace", "plugin", "key"), name="langbot_storage_once")],
            },
        ),
    ]
