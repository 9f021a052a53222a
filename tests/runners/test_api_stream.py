"""Server-sent events over HTTP, from a real web process."""

import json
import socket
import sys
import threading
import time
from subprocess import Popen
from typing import Any

import httpx2 as httpx
import pytest
from django.db import connection

from langbot.core.models import AuditLog
from langbot.core.tokens import create_api_token
from runners.models import AgentRun
from tests.support import ledger

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def processes():
    """The module's web process by its address, ended with the module."""
    running: dict[str, Popen[bytes]] = {}
    yield running
    for process in running.values():
        process.terminate()
        process.wait(15)


@pytest.fixture
def web(processes, process_environment, user, workspace, agent):
    """A client of a web process that works on this test's database."""
    if not processes:
        _start_web(processes, process_environment)
    (address,) = processes
    _, token = create_api_token(user, workspace, "tests")
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=address, headers=headers, timeout=20) as client:
        yield client


def _start_web(processes, environment):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "langbot.server", "--port", str(port)]
    processes[address] = Popen(command, env=environment)
    for _ in range(300):
        assert processes[address].poll() is None
        try:
            httpx.get(f"{address}/healthz")
        except httpx.ConnectError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the web process did not start")


@pytest.fixture
def run(web, agent):
    url = f"/api/v1/agents/{agent.public_id}/test/"
    answer = web.post(url, json={"text": "hi"})
    assert answer.status_code == 201, answer.text
    return ledger.begin(AgentRun.objects.get())


def url_of(run):
    return f"/api/v1/runs/{run.public_id}/stream/"


def read(response):
    """Yield (id, event, data) as an EventSource would."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif fields:
            if "data" in fields:
                yield int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields = {}


def in_background(function):
    def work():
        try:
            function()
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_stream_follows_the_run_to_its_end(web, run):
    def work():
        for text in ("a", "b", "c"):
            time.sleep(0.2)
            ledger.write(run, text)
        ledger.complete(run)

    arrived = []
    with web.stream("GET", url_of(run)) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-accel-buffering"] == "no"
        thread = in_background(work)
        events = []
        for event in read(response):
            events.append(event)
            arrived.append(time.monotonic())
    thread.join()
    assert [event[0] for event in events] == [1, 2, 3, 4, 5]
    assert [event[1] for event in events] == [
        "run.queued",
        *["message.delta"] * 3,
        "run.completed",
    ]
    assert [event[2]["data"].get("text") for event in events[1:4]] == ["a", "b", "c"]
    assert arrived[3] - arrived[1] > 0.3  # as they came, not all at the end


def test_a_stream_resumes_where_it_was(web, run):
    ledger.write(run, *"abcdefgh")
    got = []
    with web.stream("GET", url_of(run)) as response:
        for event in read(response):
            got.append(event[0])
            if len(got) == 4:
                break
    last = ledger.complete(run)
    with web.stream(
        "GET", url_of(run), headers={"Last-Event-ID": str(got[-1])}
    ) as response:
        got += [event[0] for event in read(response)]
    assert got == list(range(1, last + 1))
    with web.stream("GET", url_of(run), params={"after": last - 1}) as response:
        assert [event[0] for event in read(response)] == [last]
    assert web.get(url_of(run), params={"after": last}).status_code == 204


def test_a_stream_is_refused_without_a_token(web, run):
    refused = httpx.get(f"{web.base_url}{url_of(run)}")
    assert refused.status_code == 401
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("way", ["test", "events", "messages"])
def test_a_message_may_be_answered_by_the_stream(web, agent, way):
    def work():
        while not AgentRun.objects.exists():
            time.sleep(0.05)
        run = ledger.begin(AgentRun.objects.get())
        ledger.write(run, "hello")
        ledger.complete(run, "hello")

    url, content = f"/api/v1/agents/{agent.public_id}/test/", {"text": "hi"}
    if way == "events":
        agent.bindings.create(scope="workspace")
        url, content = "/api/v1/events/", {"type": "message.received"}
    if way == "messages":
        conversation = web.post("/api/v1/conversations/", json={}).json()["id"]
        url = f"/api/v1/conversations/{conversation}/messages/"
        content = {"text": "hi", "agent": agent.slug}
    thread = in_background(work)
    headers = {"Accept": "text/event-stream"}
    with web.stream("POST", url, json=content, headers=headers) as response:
        assert response.status_code == 200
        events = list(read(response))
    thread.join()
    assert [event[1] for event in events][-2:] == ["message.delta", "run.completed"]
    assert [event[0] for event in events] == list(range(1, len(events) + 1))


def test_a_refused_message_is_a_problem_even_where_a_stream_was_asked(web, agent):
    url = f"/api/v1/agents/{agent.public_id}/test/"
    headers = {"Accept": "text/event-stream"}
    refused = web.post(url, json={"text": ""}, headers=headers)
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"


def test_a_queued_message_streams_its_own_run(web, agent):
    conversation = web.post("/api/v1/conversations/", json={}).json()["id"]
    url = f"/api/v1/conversations/{conversation}/messages/"
    content = {"text": "one", "agent": agent.slug}
    first = web.post(url, json=content).json()["run_id"]

    def work():
        time.sleep(0.5)
        run = ledger.begin(AgentRun.objects.get(public_id=first))
        ledger.complete(run)
        second = AgentRun.objects.exclude(pk=run.pk).get()
        ledger.complete(ledger.begin(second))

    thread = in_background(work)
    content["text"] = "two"  # the same words again would be the first message
    headers = {"Accept": "text/event-stream"}
    with web.stream("POST", url, json=content, headers=headers) as response:
        events = list(read(response))
    thread.join()
    runs = {event[2]["run_id"] for event in events}
    assert len(runs) == 1
    assert runs != {first}
    assert events[-1][1] == "run.completed"


def test_streams_and_waits_hold_no_database_connection(web, run, agent):
    """The pool has ten connections; thirty clients wait and others are still served."""
    open_streams: list[Any] = []
    codes: list[int] = []

    def wait():
        url = f"{web.base_url}/api/v1/agents/{agent.public_id}/test/?wait=3"
        headers, content = dict(web.headers), {"text": "x"}
        return httpx.post(url, json=content, headers=headers, timeout=20).status_code

    with httpx.Client(
        base_url=web.base_url, headers=web.headers, timeout=20
    ) as clients:
        for _ in range(20):
            stream = clients.stream("GET", url_of(run))
            events = read(stream.__enter__())
            assert next(events)[1] == "run.queued"
            # A reader that is forgotten would close its stream.
            open_streams.append((stream, events))
        waiting = [in_background(lambda: codes.append(wait())) for _ in range(10)]
        time.sleep(1)
        started = time.monotonic()
        assert web.get("/api/v1/runs/").status_code == 200
        assert web.get("/readyz").status_code == 200
        assert time.monotonic() - started < 10  # the pool waits 20 s
        ledger.complete(run)
        for stream, events in open_streams:
            assert [event[1] for event in events] == ["run.completed"]
            stream.__exit__(None, None, None)
        for thread in waiting:
            thread.join()
    assert codes == [201] * 10


def test_listeners_are_sent_away_and_the_run_goes_on(web, run):
    place = f"/api/v1/conversations/{run.conversation.public_id}/stream/"
    headers = {"Authorization": web.headers["authorization"]}
    with (
        httpx.Client(base_url=web.base_url, headers=headers, timeout=20) as other,
        web.stream("GET", url_of(run)) as stream,
        other.stream("GET", url_of(run)) as another,
    ):
        readers = [read(stream), read(another)]
        for reader in readers:
            assert next(reader)[1] == "run.queued"
        answer = httpx.delete(f"{web.base_url}{place}", headers=headers, timeout=20)
        assert answer.status_code == 204
        # They end without the end of the run.
        assert [kind for reader in readers for _seq, kind, _data in reader] == []
    ledger.write(run, "still at it")
    ledger.complete(run)
    assert AgentRun.objects.get().status == "completed"
    # Whoever comes back is not sent away again, and has missed nothing.
    with web.stream("GET", url_of(run), headers={"Last-Event-ID": "1"}) as response:
        kinds = [kind for _seq, kind, _data in read(response)]
    assert kinds == ["message.delta", "run.completed"]
    acts = AuditLog.objects.filter(action="listeners disconnected")
    assert acts.get().object_id == str(run.conversation.public_id)


def test_who_comes_after_the_others_were_sent_away_stays(web, run):
    place = f"/api/v1/conversations/{run.conversation.public_id}/stream/"
    assert web.delete(place).status_code == 204

    def work():
        time.sleep(3)  # longer than the hub waits between two looks
        ledger.complete(run)

    with web.stream("GET", url_of(run)) as response:
        thread = in_background(work)
        kinds = [kind for _seq, kind, _data in read(response)]
    thread.join()
    assert kinds[-1] == "run.completed"


def test_a_conversation_that_there_is_not_has_no_listeners(web, run):
    unknown = f"/api/v1/conversations/{run.public_id}/stream/"
    assert web.delete(unknown).status_code == 404
    ledger.complete(run)
    idle = f"/api/v1/conversations/{run.conversation.public_id}/stream/"
    assert web.delete(idle).status_code == 204
    assert not AuditLog.objects.filter(action="listeners disconnected").exists()
