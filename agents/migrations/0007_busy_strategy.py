from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("langbot_agents", "0006_control_plane_right")]
    operations = [
        migrations.AddField(
            "agent",
            "multitask_strategy",
            models.CharField(
                choices=[
                    ("enqueue", "wait for the answer before"),
                    ("reject", "be refused"),
                    ("interrupt", "stop the answer before and keep what was said"),
                    ("rollback", "stop the answer before and forget that turn"),
                ],
                default="enqueue",
                max_length=10,
                verbose_name="second message",
            ),
        ),
    ]
