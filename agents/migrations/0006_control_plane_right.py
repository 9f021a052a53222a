from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("langbot_agents", "0005_archived_models")]

    operations = [
        migrations.AddField(
            "plugintoken",
            "control_plane",
            models.BooleanField(
                default=False,
                help_text=(
                    "Its plugins may take, end and cancel runs of its workspace, "
                    "and act as remote runtimes."
                ),
                verbose_name="control plane",
            ),
        )
    ]
