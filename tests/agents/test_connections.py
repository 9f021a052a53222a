"""Who owns a runner, and for how long connections are kept."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from agents.models import PluginConnection, RunnerDescriptor
from agents.registry.connections import (
    Origin,
    RegistrationRefusedError,
    disconnect,
    disconnect_node,
    purge_gone,
    reconnect,
    register,
)
from agents.registry.tokens import create_plugin_token
from runners.protocol.manifest import parse_container
from tests.factories import WorkspaceFactory
from tests.support.plugin_manifests import plugin_container, runner_component

ROUNDS = 10


def connect(workspace, *names, author="ann"):
    """Register a plugin; returns the id of its connection, or None when refused."""
    token, _ = create_plugin_token("test", workspace=workspace, plugins=["*"])
    parts = [runner_component("Runner", name) for name in names]
    manifest = parse_container(plugin_container(author, "tools", parts))
    origin = Origin(uuid4(), "node", "test")
    try:
        register(token, manifest, origin, {})
    except RegistrationRefusedError:
        return None
    return origin.connection_id


@pytest.mark.django_db(transaction=True)
def test_one_of_two_racing_workspaces_owns_a_runner():
    workspaces = [WorkspaceFactory(), WorkspaceFactory()]
    for number in range(ROUNDS):
        outcomes: dict[int, Any] = {}
        barrier = threading.Barrier(2)

        def race(workspace, names, number=number, outcomes=outcomes, barrier=barrier):
            barrier.wait()
            outcomes[workspace.pk] = connect(workspace, *names, author=f"a{number}")
            connection.close()

        orders = (["one", "two"], ["two", "one"])
        threads = [
            threading.Thread(target=race, args=pair)
            for pair in zip(workspaces, orders, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [key for key, found in outcomes.items() if found is not None]
        rows = RunnerDescriptor.objects.filter(plugin=f"a{number}/tools")
        assert len(outcomes) == 2
        assert [row.workspace_id for row in rows] == winners * 2
        assert len(winners) == 1


@pytest.mark.django_db
def test_a_workspace_serves_but_does_not_redescribe_a_runner_of_all():
    assert connect(None, "one") is not None
    assert connect(WorkspaceFactory(), "one") is not None
    row = RunnerDescriptor.objects.get()
    assert row.workspace_id is None
    assert row.kind == "Runner"


@pytest.mark.django_db
def test_a_node_takes_back_what_was_given_up_but_not_what_is_over(workspace):
    ids = [connect(workspace, name) for name in ("a", "b", "c")]
    PluginConnection.objects.filter(public_id=ids[0]).update(reason="told\nbefore")
    assert disconnect_node("node") == 3
    disconnect(ids[1], "the plugin sends garbage")
    assert reconnect(ids[:2]) == 1
    assert reconnect(ids[:2]) == 0
    rows = PluginConnection.objects.in_bulk(ids, field_name="public_id")
    assert [rows[one].status for one in ids] == ["online", "offline", "offline"]
    assert rows[ids[0]].reason == "told\nbefore"
    assert rows[ids[0]].disconnected_at is None
    assert rows[ids[1]].reason == "the plugin sends garbage"


@pytest.mark.django_db
def test_connections_that_are_long_gone_are_purged(workspace):
    old, recent, online = (connect(workspace, name) for name in ("a", "b", "c"))
    disconnect(old)
    disconnect(recent)
    long_ago = datetime.now(UTC) - timedelta(days=31)
    PluginConnection.objects.filter(public_id=old).update(disconnected_at=long_ago)
    assert purge_gone() == 1
    kept = set(PluginConnection.objects.values_list("public_id", flat=True))
    assert kept == {recent, online}
