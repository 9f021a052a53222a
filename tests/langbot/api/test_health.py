from datetime import UTC, datetime, timedelta

import pytest
from django.db.migrations.executor import MigrationExecutor

from agents.models import PluginConnection
from agents.registry.tokens import create_plugin_token
from langbot import health
from langbot.lib.conf import conf
from langbot.lib.redis import node_alive, quick_client
from runners.models import WorkerNode


@pytest.fixture
def alive(db):
    """Everything that `?full=1` asks for."""
    now = datetime.now(UTC)
    worker = WorkerNode.objects.create(name="w", started_at=now, heartbeat_at=now)
    token, _ = create_plugin_token("tests")
    PluginConnection.objects.create(
        token=token, plugin="a/b", runners=[], web_node="n1", status="online"
    )
    quick_client().set(node_alive("n1"), 1, px=6000)
    yield worker
    quick_client().delete(node_alive("n1"))


@pytest.fixture
def no_redis(settings):
    settings.LANGBOT = {**settings.LANGBOT, "REDIS_URL": "redis://127.0.0.1:1/0"}
    quick_client.cache_clear()
    yield
    quick_client.cache_clear()


def ask(client, *, full=False):
    return client.get("/readyz" + ("?full=1" if full else ""))


def test_the_process_is_up_without_touching_anything(client):
    response = client.get("/healthz")  # no database mark: a query would fail
    assert response.json() == {"status": "ok"}


def test_ready_and_complete(client, alive):
    for full in (False, True):
        response = ask(client, full=full)
        assert response.status_code == 200
        assert set(response.json().values()) == {"ok"}


def test_without_redis_it_is_ready_but_degraded(client, alive, no_redis):
    response = ask(client)
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["redis"] == "down"
    complete = ask(client, full=True)
    assert complete.status_code == 503
    assert int(complete["Retry-After"]) > 0


def test_a_silent_or_stopped_worker_does_not_count(client, alive):
    silent = datetime.now(UTC) - timedelta(seconds=conf().limits.node_dead_seconds)
    WorkerNode.objects.update(heartbeat_at=silent)
    assert ask(client).json()["workers"] == "down"
    assert ask(client, full=True).status_code == 503
    WorkerNode.objects.update(
        heartbeat_at=datetime.now(UTC), stopped_at=datetime.now(UTC)
    )
    assert ask(client, full=True).status_code == 503


def test_a_connection_of_a_dead_web_process_does_not_count(client, alive):
    quick_client().delete(node_alive("n1"))
    assert ask(client, full=True).json()["plugins"] == "down"
    assert ask(client, full=True).status_code == 503


def test_missing_migrations_are_not_ready(client, alive, monkeypatch):
    monkeypatch.setattr(
        MigrationExecutor, "migration_plan", lambda *_: [("a migration", False)]
    )
    monkeypatch.setattr(health, "_seen", {"migrated": False})
    response = ask(client)
    assert response.status_code == 503
    assert response.json()["status"] == "unavailable"
    assert response.json()["migrations"] == "down"


def test_a_database_that_is_away_is_not_ready(client, alive, monkeypatch):
    from django.db import OperationalError, connection

    def refuse():
        raise OperationalError

    with monkeypatch.context() as broken:
        broken.setattr(connection, "cursor", refuse)
        response = ask(client)
    assert response.status_code == 503
    assert response.json()["database"] == "down"
