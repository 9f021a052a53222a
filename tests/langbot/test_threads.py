"""Requests borrow threads for their sync code only, however long they stream."""

import asyncio
import gc
import threading
import weakref
from itertools import chain

import pytest
from asgiref.testing import ApplicationCommunicator
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from langbot.threads import KEPT_THREADS, ThreadedHandler, ThreadedStream

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

    def __call__(self, request):
        self.request = request
        return StreamingHttpResponse(self.parts())


def name_thread(_request):
    return HttpResponse(threading.current_thread().name)


class Slow:
    """A view whose sync code goes on until the test says so."""

    def __init__(self):
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def __call__(self, _request):
        self.begun.set()
        self.goes_on.wait(SECONDS)
        return HttpResponse("slow")


def name_threads(_request):
    """Answer with the thread of the view, then with that of each part."""
    yours = threading.current_thread().name
    names = (threading.current_thread().name for _ in range(2))
    return ThreadedStream(chain([yours], names))


@pytest.fixture
def stream(settings):
    view = Stream()
    settings.ROOT_URLCONF = (
        path("stream", view),
        path("thread", name_thread),
        path("threads", name_threads),
    )
    settings.MIDDLEWARE = []
    return view


@pytest.fixture
def slow(settings):
    view = Slow()
    settings.ROOT_URLCONF = (path("slow", view), path("thread", name_thread))
    settings.MIDDLEWARE = []
    yield view
    view.goes_on.set()


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


@pytest.mark.usefixtures("collects_nothing")
async def test_a_request_whose_client_left_is_gone_at_once(stream):
    """Hundreds of them took 50 MB until the next collection."""
    handler = ThreadedHandler()
    request, _ = await ask(handler, "/stream")
    seen = weakref.ref(stream.request)
    stream.request = None
    await request.send_input({"type": "http.disconnect"})
    await request.wait(SECONDS)
    await asyncio.to_thread(int)  # lets go of what this turn of the loop still has
    assert seen() is None


@pytest.mark.usefixtures("stream")
async def test_parts_made_by_sync_code_keep_the_thread_of_the_view():
    """The thread that ends all streams closes its connections in between."""
    handler = ThreadedHandler()
    request, body = await ask(handler, "/threads")
    names = [body]
    while part := (await request.receive_output(SECONDS)).get("body"):
        names.append(part)
    await request.wait(SECONDS)
    assert len(names) == 3
    assert len(set(names)) == 1
    assert len(handler._idle) == 1


@pytest.mark.parametrize("has_left", [False, True])
async def test_a_busy_thread_is_not_lent_again(slow, new_threads, has_left):
    """A server cancels a request that goes on too long after its client left."""
    handler = ThreadedHandler()
    scope = {"type": "http", "method": "GET", "path": "/slow", "headers": []}
    request = ApplicationCommunicator(handler, scope)
    await request.send_input({"type": "http.request", "body": b""})
    assert await asyncio.to_thread(slow.begun.wait, SECONDS)
    if has_left:  # Django then waits for the thread to end the request
        await request.send_input({"type": "http.disconnect"})
        await asyncio.sleep(0.2)
    request.future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request.future
    other, _ = await asyncio.wait_for(ask(handler, "/thread"), SECONDS / 4)
    await other.wait(SECONDS)
    slow.goes_on.set()
    assert await at_most(1, new_threads)
