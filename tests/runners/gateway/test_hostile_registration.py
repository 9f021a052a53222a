"""Plugins that register wrongly, too often or not at all; tokens that are revoked."""

import asyncio
import time
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.support import host_rows
from tests.support.host import RunningHost, aside
from tests.support.plugin_manifests import plugin_container, runner_component
from tests.support.plugin_socket import HostCallError
from tests.support.raw_plugin import RawPlugin
from tests.support.raw_runs import (
    assert_serves,
    begin_run,
    connected,
    ended,
    unregistered,
)

# As the gateway's throttle has them: 40 at once, then 4 a second.
BURST, PER_SECOND = 40, 4
REFUSED = "permission_denied"


async def connections(host: RunningHost, name: str) -> list[dict[str, Any]]:
    """Return the rows of the connections of `raw/<name>`."""
    found = await aside(host.inside, host_rows.connections_of, plugin=f"raw/{name}")
    return list(found)


async def wait_closed(plugin: RawPlugin, seconds: float = 5.0) -> None:
    """Wait until the host has closed the plugin's socket."""
    async with asyncio.timeout(seconds):
        await plugin.closed.wait()


def containers() -> dict[str, Any]:
    """Return containers that no plugin may register with."""

    def named(**metadata: Any) -> Any:
        container = plugin_container("raw", "odd", [])
        container["manifest"]["manifest"]["metadata"] |= metadata
        return container

    return {
        "none": None,
        "a list": [],
        "empty": {},
        "no manifest": {"manifest": {"manifest": None}},
        "name with a slash": named(name="a/b"),
        "name with a colon": named(author="plugin:a"),
        "name is a number": named(name=7),
        "no name": named(name=""),
        "name too long": named(name="n" * 101),
        "names too long together": named(author="a" * 100, name="n" * 100),
        "components are no list": {**named(), "components": {"a": 1}},
    }


def odd_components() -> list[Any]:
    """Return components that are listed with a reason or passed over."""
    good = runner_component("Runner", "good")
    return [
        {**good, "metadata": {}},
        {**good, "metadata": {"name": "a/b"}},
        {**good, "metadata": {"name": "n" * 300}},
        {**good, "metadata": {"name": "spec"}, "spec": []},
        {**good, "metadata": {"name": "schema"}, "spec": {"config": 7}},
        {**good, "metadata": {"name": "field"}, "spec": {"config": [7]}},
        {**good, "metadata": {"name": "rights"}, "spec": {"permissions": {"x": ["y"]}}},
        {**good, "metadata": {"name": "able"}, "spec": {"capabilities": {"x": 1}}},
        {**good, "metadata": {"name": "usages"}, "spec": {"usages": "agent"}},
        {**good, "metadata": {"name": "label", "label": {"en_US": 7}}},
        {**good, "kind": "Tool"},
        {**good, "kind": "x" * 500},
        {**good, "kind": []},
    ]


async def test_containers_without_an_identity_are_refused(host):
    for label, container in containers().items():
        async with unregistered(host, "odd") as plugin:
            with pytest.raises(HostCallError) as refused:
                await plugin.register(container)
            assert refused.value.code == REFUSED, label
            await wait_closed(plugin)
    await assert_serves(host)


async def test_odd_components_hide_nobody(host):
    async with unregistered(host, "mixed") as plugin:
        plugin.components = [*odd_components(), runner_component("Runner", "good")]
        await plugin.handshake()
        good = await aside(host.wait_runner, "plugin:raw/mixed/good")
        assert good["last_error"] == ""
        listed = await aside(host.runner, "plugin:raw/mixed/schema")
        assert listed["last_error"]
        assert not listed["online"]


async def test_a_container_that_cannot_be_stored_is_refused(host):
    async with unregistered(host, "infinite") as plugin:
        registering = asyncio.create_task(plugin.register(plugin.container()))
        for _ in range(2):
            request = await plugin.next_request()
            if request["action"] == "initialize_plugin":
                await plugin.reply(request)
        await plugin.send_text(
            f'{{"seq_id": {request["seq_id"]}, "code": 0, "message": "",'
            '"data": {"manifest": 1e999}}'
        )
        await registering
        await wait_closed(plugin)
        (row,) = await connections(host, "infinite")
        assert row["status"] == "refused"
        assert "finite" in row["reason"]


async def test_a_plugin_cannot_change_its_name_after_admission(host):
    async with unregistered(host, "wolf", admitted=("raw/wolf",)) as plugin:
        registering = asyncio.create_task(plugin.register(plugin.container()))
        plugin.name = "sheep"
        for _ in range(2):
            request = await plugin.next_request()
            await plugin.reply(request, plugin.container("initialized"))
        await registering
        await wait_closed(plugin)
    assert await aside(host.runner, "plugin:raw/sheep/default") is None
    (row,) = await connections(host, "wolf")
    assert "raw/sheep" in row["reason"]


async def test_a_name_that_the_token_does_not_admit_is_refused_and_listed_once(host):
    async with connected(host, "admitted") as other:
        for _ in range(3):
            async with unregistered(host, "alien", admitted=("raw/else",)) as plugin:
                token = plugin.token
                with pytest.raises(HostCallError) as refused:
                    await plugin.register(plugin.container())
                assert refused.value.code == REFUSED
                await wait_closed(plugin)
            async with RawPlugin(host.socket_url, token, name="alien") as again:
                with pytest.raises(HostCallError):
                    await again.register(again.container())
        rows = await connections(host, "alien")
        assert [row["status"] for row in rows] == ["refused"] * 3
        assert all("does not admit" in row["reason"] for row in rows)
        assert await aside(host.runner, "plugin:raw/alien/default") is None
        await assert_serves(host, other)


async def test_an_unbound_token_belongs_to_the_first_plugin(host):
    async with unregistered(host, "first", admitted=()) as first:
        await first.handshake()
        async with RawPlugin(host.socket_url, first.token, name="second") as second:
            with pytest.raises(HostCallError) as refused:
                await second.register(second.container())
            assert refused.value.code == REFUSED
        async with RawPlugin(host.socket_url, first.token, name="first") as again:
            await again.handshake()


async def test_a_wrong_token_is_refused_before_and_after_accept(host):
    wrong = "w" * 40
    with pytest.raises(InvalidStatus) as refused:
        await RawPlugin(host.socket_url, wrong).open()
    assert refused.value.response.status_code == 403
    for token in (wrong, ""):
        async with RawPlugin(host.socket_url, token, header=False) as plugin:
            with pytest.raises(HostCallError) as answered:
                await plugin.register(plugin.container())
            assert answered.value.code == REFUSED
            await wait_closed(plugin)


async def test_registering_twice_changes_nothing(host):
    async with unregistered(host, "twice") as plugin:
        both = [
            asyncio.create_task(plugin.call("register_plugin", data, timeout_seconds=1))
            for data in [{"plugin_container": plugin.container()}] * 2
        ]
        for _ in range(2):
            request = await plugin.next_request()
            await plugin.reply(request, plugin.container("initialized"))
        answers = await asyncio.gather(*both, return_exceptions=True)
        assert answers.count({}) == 1
        with pytest.raises(HostCallError) as refused:
            await plugin.register(plugin.container())
        assert refused.value.code == "conflict"
        await aside(host.make_agent, "twice", "plugin:raw/twice/default")
        await assert_serves(host, plugin)
        assert len(await connections(host, "twice")) == 1


async def test_a_plugin_that_never_initialises_is_let_go(host):
    async with unregistered(host, "sleeper") as plugin:
        began = time.monotonic()
        await plugin.register(plugin.container())
        await assert_serves(host)
        await wait_closed(plugin, 20)
        assert 14 < time.monotonic() - began < 18
    (row,) = await connections(host, "sleeper")
    assert row["status"] == "refused"
    assert "15 s" in row["reason"]


async def test_a_plugin_that_cannot_initialise_is_listed_with_the_reason(host):
    async with unregistered(host, "broken") as plugin:
        registering = asyncio.create_task(plugin.register(plugin.container()))
        request = await plugin.next_request("initialize_plugin")
        await plugin.refuse(request, "ModuleNotFoundError: No module named 'dify'")
        request = await plugin.next_request("get_plugin_container")
        await plugin.reply(request, plugin.container())
        await registering
        listed = await aside(
            host.wait_for, lambda: host.runner("plugin:raw/broken/default"), "listed"
        )
        assert "No module named 'dify'" in listed["last_error"]
        assert not listed["online"]


async def test_a_reconnect_storm_is_throttled_and_harms_nobody_else(host):
    tries = 150
    async with connected(host, "quiet") as quiet:
        async with connected(host, "storm") as storm:
            token = storm.token
        began, admitted = time.monotonic(), 1
        serving = asyncio.create_task(assert_serves(host, quiet))
        for _ in range(tries):
            plugin = RawPlugin(host.socket_url, token, name="storm")
            try:
                await plugin.open()
            except InvalidStatus as refused:
                assert refused.response.status_code == 403
                continue
            admitted += 1
            registering = asyncio.create_task(plugin.register(plugin.container()))
            await asyncio.sleep(0)
            await plugin.abort()
            await asyncio.gather(registering, return_exceptions=True)
        allowed = BURST + PER_SECOND * (time.monotonic() - began) + 1
        assert BURST <= admitted <= allowed < tries
        await serving
        await assert_serves(host, quiet)
        rows = await connections(host, "storm")
        assert not any(row["status"] in {"online", "refused"} for row in rows)


async def test_connections_lost_while_registering_leave_no_online_row(host):
    async with unregistered(host, "flaky") as first:
        token = first.token
    for number in range(30):
        async with RawPlugin(host.socket_url, token, name="flaky") as plugin:
            registering = asyncio.create_task(plugin.register(plugin.container()))
            for _ in range(2):
                request = await plugin.next_request()
                await plugin.reply(request, plugin.container("initialized"))
            await asyncio.sleep(number * 0.0005)
            await plugin.abort()
            await asyncio.gather(registering, return_exceptions=True)

    def nobody_online() -> bool:
        rows = host.inside(host_rows.connections_of, plugin="raw/flaky")
        return all(row["status"] != "online" for row in rows)

    await aside(host.wait_for, nobody_online, "no row says online", 5)
    assert any(row["status"] == "offline" for row in await connections(host, "flaky"))


async def test_a_revoked_token_closes_its_sockets(host):
    async with connected(host, "revoked") as plugin, connected(host, "kept") as kept:
        run_id, _ = await begin_run(host, plugin)
        assert await aside(host.inside, host_rows.revoke_plugin_token, label="revoked")
        await wait_closed(plugin)
        assert plugin.socket.close_code == 4008
        assert await ended(host, run_id) == ("failed", "connection_lost")
        with pytest.raises(InvalidStatus):
            await RawPlugin(host.socket_url, plugin.token, name="revoked").open()
        await aside(host.wait_runner, "plugin:raw/revoked/default", online=False)
        (row,) = await connections(host, "revoked")
        assert row["reason"] == "the plugin token was revoked"
        await assert_serves(host, kept)


async def test_a_disabled_runner_refuses_runs_until_it_is_enabled(host):
    async with connected(host, "switched") as plugin:
        runner_id = "plugin:raw/switched/default"
        running, request = await begin_run(host, plugin)
        await aside(
            host.inside,
            host_rows.set_runner_enabled,
            runner_id=runner_id,
            enabled=False,
        )
        refused = await aside(host.send, "hello", "switched")
        assert await ended(host, refused) == ("failed", "runner.disabled")
        await plugin.complete(request, "what runs goes on")
        assert await ended(host, running) == ("completed", "")
        await aside(
            host.inside, host_rows.set_runner_enabled, runner_id=runner_id, enabled=True
        )
        waiting = await aside(host.send, "hello again", "switched")
        await plugin.complete(await plugin.next_run(), "hello again")
        assert await ended(host, waiting) == ("completed", "")
