"""An abandoned model stream stops at the provider: by cancel, and by the run's end."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import sync_to_async

from agents.models import Model, ModelProvider
from agents.resources.llm import close_clients
from runners.protocol.frames import Action, encode
from tests.agents.resources.chat_server import chat_server, delta
from tests.runners.engine.test_host_calls import plugin_of

pytestmark = pytest.mark.django_db(transaction=True)


def add_model(workspace_id, url):
    provider = ModelProvider.objects.create(
        workspace_id=workspace_id, name="local", base_url=url, api_key="k"
    )
    return str(Model.objects.create(provider=provider, name="tiny").public_id)


@asynccontextmanager
async def streaming(agent, settings):
    """A run whose model has said one word and goes on for ever."""
    settings.LANGBOT = {**settings.LANGBOT, "OUTBOUND_ALLOW": ["127.0.0.1"]}
    begun, left = asyncio.Event(), asyncio.Event()

    async def script(exchange):
        exchange.open_stream()
        await exchange.event(delta(content="Once"))
        begun.set()
        assert await exchange.peer_left()
        left.set()

    async with chat_server(script) as server, plugin_of(agent) as (plugin, run):
        model = await sync_to_async(add_model)(run.workspace_id, server.url)
        active = plugin.active
        active.facts.access.models[model] = ["stream"]
        data = {
            "run_id": str(active.facts.public_id),
            "llm_model_uuid": model,
            "messages": [{"role": "user", "content": "tell"}],
        }
        frame = {"seq_id": 7, "action": Action.INVOKE_LLM_STREAM, "data": data}
        active.feed("1-0", encode(frame))
        async with asyncio.timeout(20):
            await begun.wait()
        assert not left.is_set()
        try:
            yield plugin, active, left, server
        finally:
            await close_clients()


async def test_cancel_of_the_plugin_closes_the_providers_stream(agent, settings):
    async with streaming(agent, settings) as (_plugin, active, left, server):
        data = {"run_id": str(active.facts.public_id), "seq_id": 7}
        frame = {"seq_id": 8, "action": Action.CANCEL_ACTION, "data": data}
        active.feed("2-0", encode(frame))
        async with asyncio.timeout(5):
            await left.wait()
        assert server.failure is None


async def test_the_end_of_the_run_closes_the_providers_stream(agent, settings):
    async with streaming(agent, settings) as (plugin, active, left, server):
        active.log.fail("runner.error", "it ended")
        plugin.engine.close(active)
        async with asyncio.timeout(5):
            await left.wait()
        assert server.failure is None
