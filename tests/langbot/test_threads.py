"""Requests borrow threads for their sync code only, however long they stream."""

import asyncio
import gc
import threading

import pytest
from asgiref.testing import ApplicationCommunicator
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from langbot.threads import KEPT_THREADS, ThreadedHandler

AT_ONCE = 3 * KEPT_THREADS
SECONDS = 20  # far more than any of it takes


class Stream:
    """A view that streams until the test says so."""

    def __init__(self):
        self.goes_on = asyncio.Event()

    async def parts(self):
        yield b"begun "
        await self.goes_on.wait()
        yield b"ended"

    def __call__(self, _request):
        return StreamingHttpResponse(self.parts())


def name_thread(_request):
    return HttpResponse(threading.current_thread().name)


@pytest.fixture
def stream(settings):
    view = Stream()
    settings.ROOT_URLCONF = (path("stream", view), path("thread", name_thread))
    settings.MIDDLEWARE = []
    return view


async def ask(handler, place):
    """Begin a request and wait until the first part of its body was sent."""
    scope = {"type": "http", "method": "GET", "path": place, "headers": []}
    request = ApplicationCommunicator(handler, scope)
    await request.send_input({"type": "http.request", "body": b""})
    assert (await request.receive_output(SECONDS))["status"] == 200
    return request, (await request.receive_output(SECONDS))["body"]


@pytest.fixture
def new_threads():
    """Return the request threads that the test made and that are still there."""
    before = set(threading.enumerate())
    return lambda: {
        one
        for one in set(threading.enumerate()) - before
        if one.name.startswith("request")
    }


async def test_who_streams_keeps_no_thread(stream, new_threads):
    handler = ThreadedHandler()
    begun = [await ask(handler, "/stream") for _ in range(AT_ONCE)]
    assert {body for _, body in begun} == {b"begun "}
    assert len(new_threads()) == 1
    stream.goes_on.set()
    for request, _ in begun:
        assert (await request.receive_output(SECONDS))["body"] == b"ended"
        await request.wait(SECONDS)


async def test_more_at_once_than_threads_are_kept(stream):
    handler = ThreadedHandler()
    begun = await asyncio.gather(*(ask(handler, "/stream") for _ in range(AT_ONCE)))
    answers = await asyncio.gather(*(ask(handler, "/thread") for _ in range(AT_ONCE)))
    assert all(body.startswith(b"request") for _, body in answers)
    stream.goes_on.set()
    for request, _ in begun:
        assert (await request.receive_output(SECONDS))["body"] == b"ended"
        await request.wait(SECONDS)
    for request, _ in answers:
        await request.wait(SECONDS)
    assert len(handler._idle) == KEPT_THREADS


@pytest.fixture
def collects_nothing():
    """No thread may wait for the garbage collector: it runs seldom."""
    gc.disable()
    yield
    gc.enable()


async def at_most(limit, threads):
    for _ in range(100):
        if len(threads()) <= limit:
            break
        await asyncio.sleep(0.05)
    return len(threads()) <= limit


@pytest.mark.usefixtures("stream", "collects_nothing")
async def test_a_thread_that_is_not_kept_ends(new_threads):
    handler = ThreadedHandler()
    await asyncio.gather(*(ask(handler, "/thread") for _ in range(AT_ONCE)))
    assert await at_most(KEPT_THREADS, new_threads)


@pytest.mark.usefixtures("collects_nothing")
async def test_the_thread_of_a_stream_that_is_not_kept_ends(stream, new_threads):
    handler = ThreadedHandler()
    begun = await asyncio.gather(*(ask(handler, "/stream") for _ in range(AT_ONCE)))
    assert await at_most(KEPT_THREADS, new_threads)
    stream.goes_on.set()
    for request, _ in begun:
        assert (await request.receive_output(SECONDS))["body"] == b"ended"
        await request.wait(SECONDS)
    assert await at_most(KEPT_THREADS + 1, new_threads)  # one ends all streams
