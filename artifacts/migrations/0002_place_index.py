from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("langbot_artifacts", "0001_initial"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="artifact",
            index=models.Index(
                fields=["workspace", "-id"], name="langbot_artifact_place"
            ),
        ),
    ]
