"""Everything that a host keeps and shows as text, to look for what must not be there.

Called by `RunningHost.inside`: the functions return only where a word was found.
"""

from collections.abc import Iterable, Iterator
from typing import Any

_PAGES = 2  # of the newest rows of a model


def rows_with(words: list[str]) -> list[str]:
    """Return `model.field pk` of each stored value that has one of the words.

    Whole columns, as the database has them: encrypted ones are ciphertext there.
    """
    from django.apps import apps
    from django.db import connection

    found = []
    quote = connection.ops.quote_name
    for model in apps.get_models(include_auto_created=True):
        table, key = model._meta.db_table, model._meta.pk.column
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {quote(table)}")  # noqa: S608  our own tables
            names = [one[0] for one in cursor.description]
            for row in cursor.fetchall():
                values = dict(zip(names, row, strict=True))
                found += [
                    f"{table}.{name} {values.get(key)}"
                    for name, value in values.items()
                    if _has(value, words)
                ]
    return found


def _has(value: Any, words: Iterable[str]) -> bool:
    if isinstance(value, memoryview):
        value = bytes(value)
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return any(word in text for word in words)


def pages_with(words: list[str]) -> dict[str, Any]:
    """Fetch the admin's lists and the pages of the newest rows as a superuser.

    Returns how many were fetched, and the addresses of those that have a word.
    """
    from django.contrib.auth import get_user_model
    from django.test import Client

    person, _ = get_user_model().objects.get_or_create(
        username="canary", defaults={"is_staff": True, "is_superuser": True}
    )
    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(person)
    count, found = 0, []
    for url in _addresses():
        response = client.get(url)
        count += response.status_code == 200
        body = b"".join(response) if response.streaming else response.content
        if _has(body, words):
            found.append(url)
    return {"count": count, "found": found}


def _addresses() -> Iterator[str]:
    from django.contrib import admin
    from django.urls import reverse

    yield reverse("admin:index")
    for model in admin.site._registry:
        if not model._meta.app_label.startswith("langbot_"):
            continue
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"admin:{name}_changelist")
        rows = model._default_manager.order_by("-pk").values_list("pk", flat=True)
        for key in rows[:_PAGES]:
            yield reverse(f"admin:{name}_change", args=[key])


def hide_secrets(place: str, words: dict[str, str], port: int) -> None:
    """Put the words where secrets are kept: a provider that fails, and a bot."""
    from agents.models import Model, ModelProvider
    from langbot.core.models import Workspace
    from platforms.models import Bot

    workspace = Workspace.objects.get(slug=place)
    provider = ModelProvider(workspace=workspace, name="canary")
    provider.api_key = words["provider"]
    provider.base_url = f"http://127.0.0.1:{port}/v1"
    provider.save()
    Model.objects.create(provider=provider, name="canary")
    bot = Bot(workspace=workspace, slug="canary", name="canary", adapter="webhook")
    bot.secrets = {"secret": words["bot"]}
    bot.config = {"callback_url": f"http://127.0.0.1:{port}/hook"}
    bot.save()


def canary_model() -> str:
    """Return the id of the model whose provider has the secret key."""
    from agents.models import Model

    return str(Model.objects.get(name="canary").public_id)
