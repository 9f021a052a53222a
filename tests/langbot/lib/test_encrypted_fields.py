import datetime
import json

import pytest
from cryptography.fernet import Fernet
from django import forms
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import connection, models
from django.db.models.functions import Cast
from django.test.utils import isolate_apps

from langbot.lib.fields import EncryptedJSONField, EncryptedTextField
from langbot.lib.secrets import (
    SecretUnreadableError,
    decrypt,
    encrypt,
    hash_token,
    new_token,
)

OLD_KEY, NEW_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def use_keys(settings, *keys):
    settings.LANGBOT = {
        **settings.LANGBOT,
        "SECRET_KEYS": list(keys),
        "SECRET_KEYS_FILE": None,
    }


@pytest.fixture
def vault(transactional_db):
    """A model with encrypted fields, and its table."""
    with isolate_apps("langbot.core"):

        class Vault(models.Model):
            text = EncryptedTextField(blank=True)
            note = EncryptedTextField(null=True)  # type: ignore[misc]  # on purpose
            data = EncryptedJSONField(null=True, default=dict)

            class Meta:
                app_label = "langbot_core"

            def __str__(self):
                return str(self.pk)

        with connection.schema_editor() as editor:
            editor.create_model(Vault)
        try:
            yield Vault
        finally:
            with connection.schema_editor() as editor:
                editor.delete_model(Vault)


def raw_row(model):
    """The columns as the database has them: read through plain text fields."""
    names = ["text", "note", "data"]
    found = {f"raw_{name}": Cast(name, models.CharField()) for name in names}
    return model.objects.annotate(**found).values_list(*found).get()


@pytest.mark.parametrize("data", [{"a": [1, "二", None]}, [], "text", 0, False, None])
def test_values_come_back_and_are_unreadable_at_rest(vault, data):
    vault.objects.create(text="sesame 芝麻", note=None, data=data)
    row = vault.objects.get()
    assert (row.text, row.note, row.data) == ("sesame 芝麻", None, data)
    text, note, stored = raw_row(vault)
    assert text.startswith("gAAAA")
    assert "sesame" not in text
    assert note is None
    assert (stored is None) == (data is None)
    assert stored is None or stored.startswith("gAAAA")


def test_equal_values_differ_at_rest_and_blank_stays_blank(vault):
    vault.objects.create(text="same", note="same")
    text, note, _ = raw_row(vault)
    assert text != note
    vault.objects.update(text="", note="changed")
    row = vault.objects.get()
    assert (row.text, row.note) == ("", "changed")
    assert raw_row(vault)[0] == ""


def test_dates_in_json_are_stored(vault):
    vault.objects.create(data={"at": datetime.date(2026, 1, 2)})
    assert vault.objects.get().data == {"at": "2026-01-02"}


def test_only_isnull_can_be_asked(vault):
    vault.objects.create(note=None)
    assert vault.objects.filter(note__isnull=True).count() == 1
    for lookup in ("note", "note__contains", "note__in", "note__gt", "text__iexact"):
        value = ["x"] if lookup.endswith("__in") else "x"
        with pytest.raises(FieldError):
            vault.objects.filter(**{lookup: value}).count()
    for lookup in ("data", "data__key", "data__a__b"):
        with pytest.raises(FieldError):
            vault.objects.filter(**{lookup: "x"}).count()


def test_keys_rotate(vault, settings):
    use_keys(settings, OLD_KEY)
    row = vault.objects.create(text="old")
    use_keys(settings, NEW_KEY, OLD_KEY)
    row.refresh_from_db()
    assert row.text == "old"
    row.save()
    use_keys(settings, NEW_KEY)
    assert vault.objects.get().text == "old"
    use_keys(settings, OLD_KEY)
    with pytest.raises(SecretUnreadableError) as failure:
        vault.objects.get()
    assert "gAAAA" not in str(failure.value)


def test_bad_keys_are_named(settings):
    use_keys(settings)
    with pytest.raises(ImproperlyConfigured):
        encrypt("x")
    use_keys(settings, "short")
    with pytest.raises(ImproperlyConfigured) as failure:
        encrypt("x")
    assert "short'" not in str(failure.value)


def test_tampering_is_noticed(settings):
    use_keys(settings, OLD_KEY)
    stored = encrypt("secret")
    middle = "A" if stored[40] != "A" else "B"
    with pytest.raises(SecretUnreadableError):
        decrypt(stored[:40] + middle + stored[41:])


def test_forms_edit_json(vault):
    field = vault._meta.get_field("data").formfield()
    assert isinstance(field, forms.JSONField)
    assert field.clean('{"a": 1}') == {"a": 1}
    form = forms.modelform_factory(vault, fields=["text", "data"])(
        {"text": "t", "data": json.dumps({"b": 2})}
    )
    assert form.is_valid(), form.errors
    form.save()
    assert vault.objects.get().data == {"b": 2}


def test_migrations_can_write_the_fields(vault):
    for name in ("text", "data"):
        _, path, args, kwargs = vault._meta.get_field(name).deconstruct()
        assert path.startswith("langbot.lib.fields.Encrypted")
        assert args == []
        assert "choices" not in kwargs


@isolate_apps("langbot.core")
def test_an_index_is_an_error():
    class Wrong(models.Model):
        text = EncryptedTextField(unique=True)

        class Meta:
            app_label = "langbot_core"

        def __str__(self):
            return ""

    assert "langbot.E001" in {problem.id for problem in Wrong.check()}


def test_tokens_are_random_prefixed_and_hashed():
    first, second = new_token("lbp"), new_token("lbp")
    assert first.startswith("lbp_")
    assert len(first) >= 4 + 43
    assert first != second
    assert len(new_token("x", 16)) < len(first)
    assert hash_token("abc") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
