import asyncio
import subprocess
import sys

from agents.resources import openai_clients
from agents.resources.llm import complete, stream
from agents.resources.openai_clients import client_pool
from tests.agents.resources.chat_server import chat_server, completion, delta


async def lend(spec):
    async with client_pool().lease(spec) as client:
        return client


async def test_one_client_per_provider_version(make_spec):
    spec = make_spec("http://127.0.0.1:1/v1")
    first = await lend(spec)
    assert await lend(make_spec("http://127.0.0.1:1/v1", name="other model")) is first
    assert (
        await lend(make_spec("http://127.0.0.1:1/v1", provider_id="p-2")) is not first
    )
    changed = await lend(make_spec("http://127.0.0.1:1/v1", api_key="sk-new"))
    assert changed is not first
    assert first.is_closed()
    assert not changed.is_closed()


async def test_first_calls_at_once_share_one_client(make_spec):
    spec = make_spec("http://127.0.0.1:1/v1")
    clients = await asyncio.gather(*(lend(spec) for _ in range(20)))
    assert len({id(client) for client in clients}) == 1


async def test_a_changed_provider_does_not_break_running_calls(make_spec, hello):
    released = asyncio.Event()

    async def script(exchange):
        if exchange.headers["authorization"] == "Bearer sk-new":
            await exchange.send(200, completion(content="new"))
            return
        exchange.open_stream()
        await exchange.event(delta(content="old"))
        await released.wait()
        await exchange.event(delta("stop"))
        await exchange.end_stream()

    async with chat_server(script) as server:
        spec = make_spec(server.url)
        old = await lend(spec)
        chunks = stream(spec, hello)
        await anext(chunks)
        answer = await complete(make_spec(server.url, api_key="sk-new"), hello)
        assert answer["message"]["content"] == "new"
        assert not old.is_closed()
        released.set()
        assert len([item async for item in chunks]) == 2
        assert old.is_closed()


async def test_idle_clients_are_closed(make_spec, monkeypatch):
    first = await lend(make_spec("http://127.0.0.1:1/v1"))
    monkeypatch.setattr(openai_clients, "IDLE_SECONDS", 0.0)
    await asyncio.sleep(0.01)
    await lend(make_spec("http://127.0.0.1:1/v1", provider_id="p-2"))
    assert first.is_closed()


FIRST_CALL = """
import asyncio, sys
from django.conf import settings
settings.configure(LANGBOT={})
from agents.resources.openai_clients import client_pool
from agents.resources.shapes import ModelSpec

async def tick(stalls):
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(0.005)
        stalls.append(loop.time() - before)

async def main():
    assert "openai" not in sys.modules
    spec = ModelSpec(id="m", name="m", kind="llm", provider_id="p", provider_name="P",
                     provider_kind="openai", base_url="http://127.0.0.1:1/v1")
    stalls = []
    ticking = asyncio.create_task(tick(stalls))
    await asyncio.sleep(0.02)
    started = asyncio.get_running_loop().time()
    async with client_pool().lease(spec):
        took = asyncio.get_running_loop().time() - started
    await asyncio.sleep(0.02)  # a stall is known when the tick after it runs
    ticking.cancel()
    print(max(stalls) / took)

asyncio.run(main())
"""


def test_the_loop_goes_on_while_openai_is_imported():
    """In a fresh process, because this one has imported it already."""
    command = [sys.executable, "-c", FIRST_CALL]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.5, "share of the first call that the loop stood still"
