"""Files on the chat page: who is shown them, and who gets their bytes."""

from base64 import b64encode
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async

from artifacts.made import MadeFile, insert_rows, reference_of, store_contents
from artifacts.made import with_content as contents
from artifacts.models import Artifact
from platforms.adapters.base import PlatformEvent
from platforms.chat import files, visits
from platforms.chat.visits import Visit, open_visit
from platforms.intake import receive
from runners.choices import RunStatus
from runners.ledger.batches import Ending
from runners.ledger.finishing import Reply
from runners.models import AgentRun, Conversation
from tests.factories import BotFactory
from tests.platforms.chat_client import opened, play

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("platforms.urls"),
]
PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 40
PAGE = b"<script>alert(1)</script>"


def made(run, name, content, mime_type, source=Artifact.Source.RUNNER):
    """Keep a file as a run does; returns how its reply names it."""
    file = MadeFile(
        workspace_id=run.workspace_id,
        conversation_id=run.conversation.public_id,
        run_id=run.public_id,
        type="file",
        name=name,
        source=source,
        **(contents(content, mime_type) if content else {}),
    )
    store_contents([file])
    insert_rows([file])
    return reference_of(file.described())


def answer(visit, *given):
    """Say something and have it answered with files; returns the answer's item."""
    run_id = visits.say(visit, f"please {uuid4()}", uuid4().hex)["run_id"]
    run = AgentRun.objects.get(public_id=run_id)
    named = [made(run, *one) for one in given]
    ending = Ending(RunStatus.COMPLETED, reply=Reply("here", artifact_refs=named))
    play(run_id).end(ending)
    return visits.history(visit)["items"][-1]


@pytest.fixture
def visit(bot):
    return open_visit("web")


def fetch(client, file, slug="web", **headers):
    return client.get(f"/chat/{slug}/files/{file['address']}/", headers=headers)


async def test_a_reply_brings_its_files_at_its_end_and_after_a_reload(bot):
    async with opened() as page:
        await page.auth()
        said = await page.say("draw", "k1")
        run = await AgentRun.objects.select_related("conversation").aget(
            public_id=said["run_id"]
        )
        named = await sync_to_async(made)(run, "cat.png", PNG, "image/png")
        played = await sync_to_async(play)(said["run_id"])
        reply = Reply("", artifact_refs=[named])
        await sync_to_async(played.end)(Ending(RunStatus.COMPLETED, reply=reply))
        _, end = await page.events_until_end()
        token = page.token
    (shown,) = end["items"][-1]["files"]
    assert (shown["name"], shown["size"], shown["is_image"]) == ("cat.png", 48, True)
    assert end["items"][0]["files"] == []
    async with opened() as page:
        history = await page.auth(token)
    (again,) = history["items"][-1]["files"]
    assert again["name"] == "cat.png"


def test_a_picture_is_shown_and_all_else_only_saved(client, visit):
    item = answer(
        visit,
        ("cat.png", PNG, "image/png"),
        ("a page.html", PAGE, "text/html"),
        ("drawing.svg", b"<svg onload='x()'/>", "image/svg+xml"),
        ("fake.png", PAGE, "image/png"),
    )
    picture, *others = item["files"]
    assert [one["is_image"] for one in item["files"]] == [True, False, False, False]
    response = fetch(client, picture)
    assert response.getvalue() == PNG
    assert response["Content-Type"] == "image/png"
    assert response["Content-Disposition"].startswith("inline")
    for one in others:
        response = fetch(client, one)
        assert response.status_code == 200
        assert response["Content-Type"] == "application/octet-stream"
        assert response["Content-Disposition"].startswith("attachment;")
        assert response["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response["Content-Security-Policy"]
        assert "private" in response["Cache-Control"]


def test_what_people_sent_is_shown_as_well(client, bot, visit):
    inline = b64encode(PNG).decode()
    picture = {"type": "image", "name": "mine.png", "content": inline}
    link = {"type": "file", "name": "there.pdf", "url": "https://a.test/there.pdf"}
    contents = [{"type": "image_base64", "image_base64": inline, "file_name": "b.png"}]
    event = PlatformEvent(
        event_id="e1",
        conversation=visit.place,
        actor={"id": visit.place, "type": "user"},
        input={"text": "look", "attachments": [picture, link], "contents": contents},
    )
    receive(bot, event)
    (item,) = visits.history(visit)["items"]
    mine, there, second = item["files"]
    assert [one["name"] for one in item["files"]] == [
        "mine.png",
        "there.pdf",
        "b.png",
    ]
    assert there["address"] is None
    assert mine["is_image"] and second["is_image"]
    assert fetch(client, second).getvalue() == PNG


def test_a_size_that_is_none_is_not_shown(bot, visit):
    """What a sender says of a file that is not here is theirs, not ours."""
    sizes = (-5, 0, "7", 7)
    given = [{"artifact_id": str(uuid4()), "size": size} for size in sizes]
    event = PlatformEvent(
        event_id="e1",
        conversation=visit.place,
        actor={"id": visit.place, "type": "user"},
        input={"text": "look", "attachments": given},
    )
    receive(bot, event)
    (item,) = visits.history(visit)["items"]
    assert [one["size"] for one in item["files"]] == [None, None, None, 7]


def test_what_the_host_kept_for_its_operators_is_not_shown(visit):
    log = ("processor.log.txt", b"secret", "text/plain", Artifact.Source.SYSTEM)
    assert answer(visit, log)["files"] == []


def test_what_is_not_here_has_a_name_and_no_address(client, visit):
    item = answer(visit, ("elsewhere.bin", None, ""), ("gone.txt", b"x", "text/plain"))
    elsewhere, gone = item["files"]
    assert elsewhere["address"] is None
    Artifact.objects.filter(name="gone.txt").delete()
    assert fetch(client, gone).status_code == 404
    (_, shown) = visits.history(visit)["items"][-1]["files"]
    assert (shown["name"], shown["size"], shown["address"]) == ("gone.txt", 1, None)


def test_an_address_is_for_its_reader_its_chat_and_a_day(
    client, visit, bot, monkeypatch
):
    (file,) = answer(visit, ("note.txt", b"mine", "text/plain"))["files"]
    assert fetch(client, file).status_code == 200
    head = client.head(f"/chat/web/files/{file['address']}/")
    assert (head.status_code, head["Content-Length"]) == (200, "4")
    assert client.post(f"/chat/web/files/{file['address']}/").status_code == 405
    BotFactory.create(workspace=bot.workspace, slug="other")
    assert fetch(client, file, slug="other").status_code == 404
    for forged in ("x", file["address"][:-2] + "aa", visit.token()):
        refused = fetch(client, {"address": forged})
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    stranger = Visit(bot, uuid4())
    stored = Artifact.objects.get()
    foreign = files._address(stranger, stored)
    assert fetch(client, {"address": foreign}).status_code == 404
    monkeypatch.setattr(files, "ADDRESS_SECONDS", -1)
    assert fetch(client, file).status_code == 404


def test_a_closed_chat_gives_no_files(client, visit, bot):
    (file,) = answer(visit, ("note.txt", b"mine", "text/plain"))["files"]
    bot.enabled = False
    bot.save()
    assert fetch(client, file).status_code == 404


def test_an_expired_file_is_gone(client, visit):
    (file,) = answer(visit, ("note.txt", b"mine", "text/plain"))["files"]
    Artifact.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert fetch(client, file).status_code == 404


def test_a_history_asks_for_all_files_at_once(visit, django_assert_num_queries):
    answer(visit, ("a.txt", b"a", "text/plain"))
    with django_assert_num_queries(4):
        visits.history(visit)
    answer(visit, ("b.txt", b"b", "text/plain"), ("c.txt", b"c", "text/plain"))
    with django_assert_num_queries(4):
        visits.history(visit)
    assert Conversation.objects.count() == 1
