from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('langbot_platforms', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='bot',
            name='archived_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='archived'),
        ),
    ]
