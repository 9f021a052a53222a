import django.db.models.deletion
from django.db import migrations, models

ITEMS = "langbot_runners_transcriptitem"
WORDS = "langbot_runners_transcript_words"

SQLITE = [
    f"""CREATE VIRTUAL TABLE {WORDS} USING fts5(
        words, content='{ITEMS}', content_rowid='id',
        tokenize='unicode61 remove_diacritics 0'
    )""",
    f"INSERT INTO {WORDS} (rowid, words) SELECT id, words FROM {ITEMS}",
    f"""CREATE TRIGGER {WORDS}_insert AFTER INSERT ON {ITEMS} BEGIN
        INSERT INTO {WORDS} (rowid, words) VALUES (new.id, new.words);
    END""",
    f"""CREATE TRIGGER {WORDS}_delete AFTER DELETE ON {ITEMS} BEGIN
        INSERT INTO {WORDS} ({WORDS}, rowid, words)
        VALUES ('delete', old.id, old.words);
    END""",
]
UNDO_SQLITE = [
    f"DROP TRIGGER {WORDS}_insert",
    f"DROP TRIGGER {WORDS}_delete",
    f"DROP TABLE {WORDS}",
]
# A search reads all pending entries of the index one by one: few may wait.
POSTGRESQL = [
    f"""CREATE INDEX {WORDS} ON {ITEMS} USING gin (to_tsvector('simple', words))
        WITH (gin_pending_list_limit = 256)"""
]
UNDO_POSTGRESQL = [f"DROP INDEX {WORDS}"]


def fill(apps, schema_editor):
    """Give rows that are there already their words."""
    # Not written out again: they must be the words that questions are made of.
    from runners.ledger.words import joined, place_word, words_of

    items = apps.get_model("langbot_runners", "TranscriptItem").objects
    items = items.using(schema_editor.connection.alias)
    for item in items.only("text", "conversation_id").iterator(chunk_size=500):
        words = [place_word(item.conversation_id), *words_of(item.text)]
        items.filter(pk=item.pk).update(words=joined(words))


def make_index(apps, schema_editor):
    """Index the column with what the database has for it."""
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    for statement in SQLITE if is_sqlite else POSTGRESQL:
        schema_editor.execute(statement)


def drop_index(apps, schema_editor):
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    for statement in UNDO_SQLITE if is_sqlite else UNDO_POSTGRESQL:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    """The words of transcripts and their index; events by conversation.

    Whoever has SQLite make the table of transcripts anew (`AlterField`, `RemoveField`)
    has to make the triggers anew too: they go with the old table.
    """

    dependencies = [
        ("langbot_core", "0002_permissions_and_audit_seals"),
        ("langbot_runners", "0006_cancels_index"),
    ]

    operations = [
        migrations.AddField(
            model_name="transcriptitem",
            name="words",
            field=models.TextField(default="", editable=False),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunPython(make_index, drop_index),
        migrations.AlterField(
            model_name="eventlog",
            name="conversation",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="events",
                to="langbot_runners.conversation",
                verbose_name="conversation",
            ),
        ),
        migrations.AddIndex(
            model_name="eventlog",
            index=models.Index(
                fields=["conversation", "-id"], name="langbot_event_chat"
            ),
        ),
    ]
