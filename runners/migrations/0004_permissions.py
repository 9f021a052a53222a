from django.db import migrations


class Migration(migrations.Migration):
    """Permissions that no model permission says; the groups get them after migrating."""

    dependencies = [
        ("langbot_runners", "0003_search_indexes"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="agentrun",
            options={
                "ordering": ["-pk"],
                "permissions": [
                    ("cancel_run", "Can cancel runs"),
                    ("resolve_action", "Can approve, reject and answer for runs"),
                    ("view_cost", "Can see what runs cost"),
                ],
                "verbose_name": "run",
                "verbose_name_plural": "runs",
            },
        ),
        migrations.AlterModelOptions(
            name="conversation",
            options={
                "ordering": ["-pk"],
                "permissions": [("take_over", "Can answer in an agent's place")],
                "verbose_name": "conversation",
                "verbose_name_plural": "conversations",
            },
        ),
        migrations.AlterModelOptions(
            name="eventlog",
            options={
                "ordering": ["-pk"],
                "permissions": [
                    ("view_raw_payload", "Can see what platforms sent, as it came")
                ],
                "verbose_name": "event",
                "verbose_name_plural": "events",
            },
        ),
    ]
