"""What lists ask at a million rows: indexes that serve a query, and no other."""

import json
from hashlib import blake2b
from uuid import UUID

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

import runners.labels

_TOGETHER = 1000


class DropOwnIndex(migrations.AlterField):
    """Take away the index of a reference.

    Django's own operation copies a whole SQLite table for that, five times for runs.
    """

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        for name in self._indexes(app_label, schema_editor, from_state):
            schema_editor.execute(f"DROP INDEX {schema_editor.quote_name(name)}")

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        model = to_state.apps.get_model(app_label, self.model_name)
        field = model._meta.get_field(self.name)
        schema_editor.execute(schema_editor._create_index_sql(model, fields=[field]))

    def _indexes(self, app_label, schema_editor, state):
        model = state.apps.get_model(app_label, self.model_name)
        column = model._meta.get_field(self.name).column
        connection = schema_editor.connection
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(
                cursor, model._meta.db_table
            )
        return [
            name
            for name, one in found.items()
            if one["columns"] == [column]
            and one["index"]
            and not one["unique"]
            and not one["primary_key"]
            and name not in {index.name for index in model._meta.indexes}
        ]


def note_all(apps, schema_editor):
    """Note the members of the metadata that runs have already."""
    run_model = apps.get_model("langbot_runners", "AgentRun")
    noted = apps.get_model("langbot_runners", "RunMetadata")
    runs = run_model.objects.exclude(metadata={}).order_by("pk")
    rows = []
    for key, workspace, metadata in runs.values_list(
        "pk", "workspace_id", "metadata"
    ).iterator(_TOGETHER):
        rows += [noted(run_id=key, digest=one) for one in _digests(workspace, metadata)]
        if len(rows) >= _TOGETHER:
            noted.objects.bulk_create(rows)
            rows = []
    noted.objects.bulk_create(rows)


def _digests(workspace, metadata):
    """Return what `runners.ledger.metadata` notes; a migration keeps its own copy."""
    found = set()
    for name, value in metadata.items() if isinstance(metadata, dict) else ():
        if isinstance(value, (str, bool, int, float)):
            text = value if isinstance(value, str) else json.dumps(value)
            content = json.dumps([workspace, name, text]).encode()
            found.add(UUID(bytes=blake2b(content, digest_size=16).digest()))
    return found


def _reference(to, on_delete, **options):
    return models.ForeignKey(on_delete=on_delete, to=to, db_index=False, **options)


def _fields():
    """Return the references whose own index another one begins with."""
    cascade, protect = (
        django.db.models.deletion.CASCADE,
        django.db.models.deletion.PROTECT,
    )
    run, core = "langbot_runners.agentrun", "langbot_core.workspace"
    named = {"related_name": "runs"}
    return {
        ("agentrun", "workspace"): _reference(
            core, protect, verbose_name="workspace", **named
        ),
        ("agentrun", "conversation"): _reference(
            "langbot_runners.conversation",
            protect,
            verbose_name="conversation",
            **named,
        ),
        ("agentrun", "event"): _reference(
            "langbot_runners.eventlog", protect, verbose_name="event", **named
        ),
        ("agentrun", "agent"): _reference(
            "langbot_agents.agent", protect, verbose_name="agent", **named
        ),
        ("agentrun", "parent"): _reference(
            run,
            django.db.models.deletion.SET_NULL,
            null=True,
            related_name="children",
            verbose_name="parent run",
        ),
        ("runevent", "run"): _reference(run, cascade, related_name="events"),
        ("hostcall", "run"): _reference(
            run, cascade, related_name="host_calls", verbose_name="run"
        ),
        ("transcriptitem", "conversation"): _reference(
            "langbot_runners.conversation", cascade, related_name="transcript"
        ),
    }


class Migration(migrations.Migration):
    dependencies = [("langbot_runners", "0010_host_call_refusals")]

    operations = [
        migrations.AddIndex(
            "agentrun",
            models.Index(
                condition=Q(("parent__isnull", False)),
                fields=["parent"],
                name="langbot_run_parent",
            ),
        ),
        migrations.AddIndex(
            "eventlog",
            models.Index(
                condition=Q(
                    ("outcome", "ignored"), ("outcome", "queued"), _connector="OR"
                ),
                fields=["workspace", "outcome", "id"],
                name="langbot_event_unstarted_there",
            ),
        ),
        *(
            DropOwnIndex(model, name, field)
            for (model, name), field in _fields().items()
        ),
        migrations.RemoveIndex("agentrun", "langbot_run_code"),
        migrations.AddIndex(
            "agentrun",
            models.Index(
                condition=Q(runners.labels.HasText("error_code")),
                fields=["workspace", "error_code", "id"],
                name="langbot_run_problem",
            ),
        ),
        migrations.CreateModel(
            "RunMetadata",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True,
                        primary_key=True,
                        serialize=False,
                        verbose_name="ID",
                    ),
                ),
                ("digest", models.UUIDField(editable=False)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="langbot_runners.agentrun",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("digest", "run"), name="langbot_run_metadata_once"
                    )
                ],
            },
        ),
        migrations.RunPython(note_all, migrations.RunPython.noop, elidable=True),
    ]
