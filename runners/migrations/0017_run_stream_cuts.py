from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("langbot_runners", "0015_gateway")]

    operations = [
        migrations.AddField(
            model_name="agentrun",
            name="stream_cuts",
            field=models.PositiveIntegerField(
                db_default=0,
                default=0,
                verbose_name="times its listeners were sent away",
            ),
        ),
    ]
