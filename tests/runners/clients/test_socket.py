"""`/ws/runs/<id>/`: tokens, events, and exactly one completion."""

import asyncio
import contextlib
import json
import random
import time
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.core import signing
from django.db import connection

from langbot.core.models import Membership
from langbot.core.tokens import create_api_token, revoke_api_token
from runners.admission import Incoming, admit
from runners.choices import ENDS, EventType
from runners.clients import session, tokens
from runners.clients.frames import CLOSE_COMPLETE, CLOSE_FAILED, CLOSE_REPLACED
from runners.ledger.fence import NewEvent
from runners.live import document_of
from runners.models import AgentRun, RunEvent
from runners.services import request_cancel
from tests.factories import WorkspaceFactory
from tests.support import ledger
from tests.support.run_client import as_document, run_client

pytestmark = pytest.mark.django_db(transaction=True)


def admitted(agent):
    incoming = Incoming(
        workspace=agent.workspace,
        source="test",
        event_id=str(uuid4()),
        type="message.received",
        trigger_source="api",
        agent=agent,
        input={"text": "hi"},
    )
    return admit(incoming).run


@pytest.fixture
def run(agent):
    return ledger.begin(admitted(agent))


@pytest.fixture
def token(run, user):
    return tokens.issue_token(run.public_id, run.workspace_id, user.pk)


def stored(run):
    rows = RunEvent.objects.filter(run=run).order_by("seq")
    return [json.loads(json.dumps(document_of(run.public_id, row))) for row in rows]


async def test_a_client_has_every_event_and_one_completion(run, token):
    await sync_to_async(ledger.write)(run, "a", "b")
    async with run_client(run.public_id) as client:
        answer = await client.auth(token)
        assert answer["type"] == "auth_ok"
        assert answer["run_id"] == str(run.public_id)
        assert answer["status"] == "running"
        assert answer["expires_at"] > time.time() + 200
        await client.frame("agent_event")
        await sync_to_async(ledger.write)(run, "c", 'said "type" and 说')
        await sync_to_async(ledger.complete)(run)
        events, end = await client.until_end()
        assert end["status"] == "completed"
        assert end["last_seq"] == events[-1]["seq"]
        assert await client.closed() == CLOSE_COMPLETE
    documents = await sync_to_async(stored)(run)
    assert [as_document(one) for one in events] == documents[1:]


async def test_a_client_goes_on_from_any_number(run, token):
    await sync_to_async(ledger.write)(run, *"abcdefgh")
    last = await sync_to_async(ledger.complete)(run)
    documents = await sync_to_async(stored)(run)
    for number in range(last + 2):
        async with run_client(run.public_id) as client:
            assert (await client.auth(token, resume_from=number))["type"] == "auth_ok"
            events, _ = await client.until_end()
            assert [as_document(one) for one in events] == documents[number:]
            assert await client.closed() == CLOSE_COMPLETE


async def test_a_stream_cut_at_random_is_whole(run, token):
    """Cut a socket after a random number of events, again and again."""

    async def produce():
        for number in range(60):
            await sync_to_async(ledger.write)(run, f"{number} ", f"{number}!")
        await sync_to_async(ledger.complete)(run)

    work = asyncio.create_task(produce())
    got: list[Any] = []
    ended = False
    while not ended:
        async with run_client(run.public_id) as client:
            position = got[-1]["seq"] if got else 0
            await client.auth(token, resume_from=position)
            for _ in range(random.randint(1, 15)):  # noqa: S311  no secret
                frame = await client.frame()
                if frame["type"] == "agent_event":
                    got.append(frame)
                ended = ended or frame["type"] == "session_complete"
                if ended:
                    break
    await work
    documents = await sync_to_async(stored)(run)
    assert [as_document(one) for one in got] == documents


@pytest.mark.parametrize("given", ["", "nonsense", "x:y", "e30:abc"])
async def test_no_token_of_ours_is_final(run, given):
    async with run_client(run.public_id) as client:
        assert (await client.auth(given))["code"] == "invalid_token"
        assert await client.closed() == CLOSE_FAILED


async def refused(run_id, token):
    async with run_client(run_id) as client:
        answer = await client.auth(token)
        assert answer["type"] == "auth_failed", answer
        assert await client.closed() == CLOSE_FAILED
        return answer


async def test_unknown_foreign_and_other_runs_are_the_same(run, token, user, agent):
    """C-39: nothing tells a run of others from one that does not exist."""
    other = await sync_to_async(admitted)(agent)
    nobody = uuid4()
    elsewhere = await sync_to_async(WorkspaceFactory.create)(slug="elsewhere")
    cases = [
        (nobody, tokens.issue_token(nobody, run.workspace_id, user.pk)),
        (run.public_id, tokens.issue_token(run.public_id, elsewhere.pk, user.pk)),
        (run.public_id, tokens.issue_token(run.public_id, run.workspace_id, 10**6)),
        ("nothing", token),
    ]
    answers = [await refused(*case) for case in cases]
    assert len({json.dumps(answer) for answer in answers}) == 1
    await refused(other.public_id, token)


async def test_who_left_or_lost_their_token_is_refused(run, user, workspace):
    row, _ = await sync_to_async(create_api_token)(user, workspace, "tests")
    mine = (run.public_id, run.workspace_id, user.pk)
    token, other = tokens.issue_token(*mine, row.public_id), tokens.issue_token(*mine)
    async with run_client(run.public_id) as client:
        assert (await client.auth(token))["type"] == "auth_ok"
    await sync_to_async(revoke_api_token)(row, author="tests")
    await refused(run.public_id, token)
    await sync_to_async(Membership.objects.filter(user=user).delete)()
    await refused(run.public_id, other)


def expiring(run, user, seconds, monkeypatch):
    """Return a token that is good for so long."""
    monkeypatch.setattr(tokens, "LIFE_SECONDS", seconds)
    try:
        return tokens.issue_token(run.public_id, run.workspace_id, user.pk)
    finally:
        monkeypatch.undo()


async def test_an_expired_token_is_renewed_on_the_open_socket(
    run, token, user, monkeypatch
):
    short = expiring(run, user, 2, monkeypatch)
    old = expiring(run, user, -1, monkeypatch)
    async with run_client(run.public_id) as client:
        assert (await client.auth(old))["type"] == "auth_expired"
        assert (await client.auth(short))["type"] == "auth_ok"
        await client.frame("agent_event")
        assert (await client.frame())["type"] == "auth_expired"
        await sync_to_async(ledger.write)(run, *"abc")  # nobody may see it now
        await client.send(type="interrupt")
        assert (await client.frame())["code"] == "not_authenticated"
        assert (await client.auth(token))["type"] == "auth_ok"
        await sync_to_async(ledger.complete)(run)
        events, _ = await client.until_end()
        said = [one["data"].get("text") for one in events]
        assert said == ["a", "b", "c", None]


async def test_another_persons_token_does_not_renew(
    run, token, django_user_model, workspace
):
    other = await django_user_model.objects.acreate(username="eve")
    await sync_to_async(workspace.memberships.create)(user=other)
    theirs = tokens.issue_token(run.public_id, run.workspace_id, other.pk)
    async with run_client(run.public_id) as client:
        await client.auth(token)
        await client.send(type="auth", token=theirs)
        assert (await client.frame("auth_failed"))["code"] == "invalid_token"
        assert await client.closed() == CLOSE_FAILED


async def test_who_says_nothing_is_sent_away(run, monkeypatch):
    monkeypatch.setattr(session, "AUTH_SECONDS", 0.2)
    async with run_client(run.public_id) as client:
        assert (await client.frame())["code"] == "auth_timeout"
        assert await client.closed() == CLOSE_FAILED


async def test_bad_frames_leave_the_socket_open(run, token):
    async with run_client(run.public_id) as client:
        await client.socket.send_to(text_data="x" * 5000)
        assert (await client.frame())["code"] == "input_too_large"
        await client.auth(token)
        await client.frame("agent_event")
        for text in ("nonsense", "[]", '{"type": "dance"}', '{"type": "tool_result"}'):
            await client.socket.send_to(text_data=text)
            assert (await client.frame())["code"] == "invalid_frame"
        await client.socket.send_to(bytes_data=b"x")
        assert (await client.frame())["code"] == "invalid_frame"
        await client.send(type="heartbeat_ack")
        await sync_to_async(ledger.complete)(run)
        assert len((await client.until_end())[0]) == 1


async def test_a_flood_of_frames_is_slowed_and_then_ended(run, token, monkeypatch):
    monkeypatch.setattr(session, "FRAMES_BURST", 3)
    monkeypatch.setattr(session, "FRAMES_PER_SECOND", 0.001)
    monkeypatch.setattr(session, "REFUSALS", 5)
    async with run_client(run.public_id) as client:
        await client.auth(token)
        await client.frame("agent_event")
        for _ in range(10):
            await client.send(type="heartbeat_ack")
        codes = [(await client.frame())["code"] for _ in range(5)]
        assert codes == ["rate_limited"] * 5
        assert await client.closed() > CLOSE_FAILED


async def test_an_interrupt_stops_the_run(run, token):
    async with run_client(run.public_id) as client:
        await client.auth(token)
        await client.frame("agent_event")
        await client.send(type="interrupt")
        assert (await client.frame("stopped"))["stopped"] is True
    asked = await AgentRun.objects.aget(pk=run.pk)
    assert asked.cancel_requested_at is not None


async def test_a_reader_may_follow_and_not_stop(run, django_user_model, workspace, db):
    other = await django_user_model.objects.acreate(username="reader")
    await sync_to_async(workspace.memberships.create)(user=other)
    token = tokens.issue_token(run.public_id, run.workspace_id, other.pk)
    async with run_client(run.public_id) as client:
        await client.auth(token)
        await client.frame("agent_event")
        await client.send(type="interrupt")
        assert (await client.frame())["code"] == "permission_denied"
    assert (await AgentRun.objects.aget(pk=run.pk)).cancel_requested_at is None


async def test_the_later_connection_of_a_person_replaces_the_first(run, token):
    """LO-01."""
    async with run_client(run.public_id) as first, run_client(run.public_id) as second:
        await first.auth(token)
        await first.frame("agent_event")
        await second.auth(token)
        assert await first.closed() == CLOSE_REPLACED
        await sync_to_async(ledger.complete)(run)
        assert (await second.until_end())[1]["status"] == "completed"


async def test_a_disconnect_is_no_end_of_the_run(run, token):
    """LO-06."""
    async with run_client(run.public_id) as client:
        await client.auth(token)
    assert (await AgentRun.objects.aget(pk=run.pk)).status == "running"


async def test_a_race_of_cancel_and_finish_completes_once(agent, user):
    for number in range(12):
        run = await sync_to_async(admitted)(agent)
        token = tokens.issue_token(run.public_id, run.workspace_id, user.pk)
        if number % 3:
            run = await sync_to_async(ledger.begin)(run)
        async with run_client(run.public_id) as client:
            await client.auth(token)
            stop = asyncio.to_thread(_closing, request_cancel, run, "stop")
            finish = asyncio.to_thread(_closing, _complete, run)
            await asyncio.gather(stop, finish)
            if not (await AgentRun.objects.aget(pk=run.pk)).is_terminal:
                await sync_to_async(ledger.fail)(run, "cancelled")
            events, end = await client.until_end()
            ends = [one for one in events if one["event_type"] in ENDS]
            assert len(ends) == 1
            assert end["last_seq"] == events[-1]["seq"]
            assert await client.closed() == CLOSE_COMPLETE


def _complete(run):
    with contextlib.suppress(KeyError):  # the cancel was first
        ledger.complete(run)


def _closing(function, *arguments):
    try:
        function(*arguments)
    finally:
        connection.close()


def test_a_token_says_who_and_what_and_nothing_secret(run, user):
    token = tokens.issue_token(run.public_id, run.workspace_id, user.pk)
    holder = tokens.read_token(token, run.public_id)
    assert holder.user_id == str(user.pk)
    assert 290 < holder.expires_at - time.time() <= 300
    with pytest.raises(tokens.InvalidTokenError):
        tokens.read_token(token[:-1], run.public_id)
    with pytest.raises(tokens.InvalidTokenError):
        tokens.read_token(signing.Signer().sign_object({}), run.public_id)


def write_each(run):
    """Write an event of each type, the terminal one last."""
    kinds = [kind for kind in EventType if kind not in ENDS]
    events = [NewEvent(kind, {"text": kind.value}) for kind in kinds]
    ledger._write(run, events, None, publish=True)
    ledger.complete(run)
    return kinds


async def test_every_type_is_live_and_replayed(run, token):
    """AG-47: what is not known to a stream would be lost to who comes later."""
    async with run_client(run.public_id) as client:
        await client.auth(token)
        kinds = await sync_to_async(write_each)(run)
        live, _ = await client.until_end()
        assert [one["event_type"] for one in live[1:-1]] == kinds
    async with run_client(run.public_id) as client:
        await client.auth(token)
        again, _ = await client.until_end()
        assert again == live
