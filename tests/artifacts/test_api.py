"""REST for files: what goes in comes out, and runs nowhere."""

import hashlib
from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from artifacts import blobs
from artifacts.models import Artifact
from artifacts.store import purge_expired
from langbot.core.models import AuditLog
from runners.engine.snapshot import build_context, freeze, load_runs
from runners.models import AgentRun, Conversation, EventLog
from tests.factories import WorkspaceFactory

URL = "/api/v1/artifacts/"
DATA = bytes(range(256)) * 4
PNG = b"\x89PNG\r\n\x1a\npixels"


@pytest.fixture
def upload(api_client):
    def upload(content=DATA, name="a.bin", kind="application/octet-stream", **more):
        headers = more.pop("headers", None)
        file = SimpleUploadedFile(name, content, kind)
        return api_client.post(URL, {"file": file, **more}, headers=headers)

    return upload


@pytest.fixture
def artifact(upload):
    return upload().json()


@pytest.fixture
def read(api_client, artifact):
    def read(method="get", **headers):
        url = f"{URL}{artifact['id']}/content/"
        return getattr(api_client, method)(url, headers=headers)

    return read


def test_an_upload_is_described(upload, workspace):
    answer = upload(PNG, "cat.png", "image/png")
    assert answer.status_code == 201
    shown = answer.json()
    assert shown["sha256"] == hashlib.sha256(PNG).hexdigest()
    assert (shown["type"], shown["mime_type"]) == ("image", "image/png")
    assert (shown["name"], shown["size"]) == ("cat.png", len(PNG))
    assert (shown["source"], shown["conversation"]) == ("platform", None)
    assert "reference" not in shown
    assert Artifact.objects.get().workspace == workspace
    assert answer["ETag"]


def test_bytes_come_back(read, artifact):
    answer = read()
    assert (answer.status_code, answer.getvalue()) == (200, DATA)
    assert answer["ETag"] == f'"{artifact["sha256"]}"'
    assert answer["Content-Length"] == str(len(DATA))
    assert answer["Accept-Ranges"] == "bytes"
    head = read("head")
    assert (head.content, head["Content-Length"]) == (b"", str(len(DATA)))
    same = read(if_none_match=answer["ETag"])
    assert (same.status_code, same.content) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1000-", 1000, 1024),
        ("bytes=1000-9999", 1000, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=-9999", 0, 1024),
    ],
)
def test_a_range_comes_back(read, asked, start, end):
    answer = read(range=asked)
    assert answer.getvalue() == DATA[start:end]
    if (start, end) != (0, len(DATA)):
        assert answer.status_code == 206
        assert answer["Content-Range"] == f"bytes {start}-{end - 1}/{len(DATA)}"


def test_a_name_and_a_type_may_be_given(api_client):
    content = {"file": SimpleUploadedFile("a", b"x"), "name": "b c.txt", "type": "note"}
    shown = api_client.post(URL, content).json()
    assert (shown["name"], shown["type"]) == ("b c.txt", "note")


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000", "bytes=-0"])
def test_a_range_outside_is_a_416(read, asked):
    answer = read(range=asked)
    assert (answer.status_code, answer["Content-Range"]) == (416, "bytes */1024")
    assert answer.json()["code"] == "range_not_satisfiable"


@pytest.mark.parametrize(
    "asked", ["lines=0-1", "bytes=a-b", "bytes=9-1", "bytes=-", "bytes=0-1,4-5", "x"]
)
def test_what_is_no_range_is_everything(read, asked):
    answer = read(range=asked)
    assert (answer.status_code, answer.getvalue()) == (200, DATA)


def test_if_range_is_asked_first(read, artifact):
    tag = f'"{artifact["sha256"]}"'
    assert read(range="bytes=0-0", if_range=tag).status_code == 206
    assert read(range="bytes=0-0", if_range='"other"').status_code == 200


@pytest.mark.parametrize(
    ("kind", "content", "served", "shown"),
    [
        ("image/png", PNG, "image/png", True),
        ("image/png", b"<script>", "application/octet-stream", False),
        ("text/html", b"<script>", "application/octet-stream", False),
        ("image/svg+xml", b"<svg/>", "application/octet-stream", False),
        ("text/javascript", b"x", "application/octet-stream", False),
        ("application/xhtml+xml", b"x", "application/octet-stream", False),
        ("application/pdf", b"%PDF-1.7", "application/pdf", False),
        ("text/plain", b"x", "text/plain", False),
        ("audio/ogg", b"x", "audio/ogg", False),
    ],
)
def test_nothing_runs_in_our_origin(api_client, upload, kind, content, served, shown):
    artifact = upload(content, 'a".html\r\nX: y', kind).json()
    answer = api_client.get(f"{URL}{artifact['id']}/content/")
    assert answer["Content-Type"] == served
    assert answer["Content-Disposition"].startswith("inline" if shown else "attachment")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert "\n" not in answer["Content-Disposition"]


@pytest.fixture
def small(settings):
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": {"upload_bytes": 100_000}}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("size", "status"), [(100_000, 201), (100_001, 413), (300_000, 413)]
)
def test_both_sides_of_the_limit(upload, size, status):
    before = set(blobs.digests())
    answer = upload(b"x" * size)
    assert answer.status_code == status
    assert Artifact.objects.count() == (status == 201)
    if status == 413:
        assert answer.json()["code"] == "too_large"
        assert set(blobs.digests()) == before


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"file": None}, "file"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"conversation": "01890000-0000-7000-8000-000000000000"}, "conversation"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"owner": "me"}, "owner"),
    ],
)
def test_wrong_fields_are_named(api_client, fields, wrong):
    content = {"file": SimpleUploadedFile("a", b"x"), **fields}
    content = {name: value for name, value in content.items() if value is not None}
    answer = api_client.post(URL, content)
    assert answer.status_code == 400
    assert wrong in answer.json()["errors"]
    assert not Artifact.objects.exists()


def test_json_is_no_upload(api_client):
    assert api_client.post(URL, {"file": "x"}, format="json").status_code == 415


def test_a_repeat_under_a_key_is_one_file(upload):
    key = {"Idempotency-Key": "k1"}
    first, again = upload(headers=key), upload(headers=key)
    assert first.json() == again.json()
    assert again["Idempotency-Replayed"] == "true"
    assert Artifact.objects.count() == 1
    assert upload(b"other", headers=key).status_code == 422


def test_equal_files_share_their_bytes(upload):
    ids = {upload().json()["id"] for _ in range(3)}
    assert (len(ids), len({a.sha256 for a in Artifact.objects.all()})) == (3, 1)


def test_the_expiry_is_changed_and_counts_at_once(api_client, upload, artifact):
    url = f"{URL}{artifact['id']}/"
    later = (timezone.now() + timedelta(days=1)).isoformat()
    answer = api_client.patch(url, {"expires_at": later}, format="json")
    assert answer.status_code == 200
    assert answer.json()["expires_at"] is not None
    stale = {"If-Match": '"old"'}
    answer = api_client.patch(url, {"expires_at": None}, format="json", headers=stale)
    assert answer.status_code == 412
    past = (timezone.now() - timedelta(days=1)).isoformat()
    assert api_client.patch(url, {"expires_at": past}, format="json").status_code == 400
    assert api_client.patch(url, {"name": "x"}, format="json").status_code == 400
    Artifact.objects.update(expires_at=timezone.now())
    for address in (url, f"{url}content/"):
        assert api_client.get(address).status_code == 404
    assert api_client.get(URL).json()["results"] == []
    assert purge_expired() == 1


def test_a_removed_file_is_gone(api_client, artifact):
    url = f"{URL}{artifact['id']}/"
    assert api_client.delete(url).status_code == 204
    assert api_client.get(url).status_code == 404
    entry = AuditLog.objects.get(action="deleted")
    assert entry.object_id == artifact["id"]


def test_bytes_that_are_not_here(api_client, workspace, artifact):
    row = Artifact.objects.get()
    digest = row.sha256
    (blobs._path(digest)).unlink()
    answer = api_client.get(f"{URL}{row.public_id}/content/")
    assert (answer.status_code, answer.json()["code"]) == (410, "gone")
    Artifact.objects.update(storage="url", reference="http://a.example/secret")
    answer = api_client.get(f"{URL}{row.public_id}/content/")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_held_here")
    assert b"secret" not in answer.content


def test_lists_are_filtered(api_client, upload):
    upload(PNG, kind="image/png")
    upload()
    for query, count in (("type=image", 1), ("source=runner", 0), ("", 2)):
        assert len(api_client.get(f"{URL}?{query}").json()["results"]) == count


@pytest.fixture
def conversation(api_client):
    answer = api_client.post("/api/v1/conversations/", {"key": "mine"}, format="json")
    return Conversation.objects.get(public_id=answer.json()["id"])


def send(api_client, conversation, agent, *files):
    content = {"text": "look", "agent": agent.slug, "files": files}
    url = f"/api/v1/conversations/{conversation.public_id}/messages/"
    return api_client.post(url, content, format="json")


def test_a_message_names_a_file_and_its_runner_gets_it(
    api_client, conversation, agent, upload
):
    artifact = upload(b"hello", "a.txt", "text/plain").json()
    answer = send(api_client, conversation, agent, artifact["id"])
    assert answer.status_code == 201, answer.content
    assert "aGVsbG8=" not in str(EventLog.objects.latest("pk").input)
    (run,) = load_runs([AgentRun.objects.get().pk])
    (given,) = build_context(run, freeze(run))["input"]["attachments"]
    assert given["ref"] == artifact["id"]
    assert given["content"] == "data:text/plain;base64,aGVsbG8="
    assert (given["name"], given["mime_type"]) == ("a.txt", "text/plain")
    assert Artifact.objects.get().conversation_id_ref == conversation.public_id


def test_a_file_belongs_to_the_first_conversation_that_names_it(
    api_client, conversation, agent, upload
):
    artifact = upload().json()
    other = Conversation.objects.create(workspace=conversation.workspace, key="other")
    assert send(api_client, conversation, agent, artifact["id"]).status_code == 201
    refused = send(api_client, other, agent, artifact["id"])
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    placed = upload(conversation=str(other.public_id)).json()
    assert send(api_client, other, agent, placed["id"]).status_code == 201
    assert send(api_client, conversation, agent, placed["id"]).status_code == 400


def test_expired_and_foreign_files_cannot_be_named(
    api_client, conversation, agent, upload
):
    expired, foreign = (upload().json()["id"] for _ in range(2))
    rows = Artifact.objects
    rows.filter(public_id=expired).update(expires_at=timezone.now())
    rows.filter(public_id=foreign).update(workspace=WorkspaceFactory.create())
    for one in (expired, foreign):
        assert send(api_client, conversation, agent, one).status_code == 400


@pytest.mark.parametrize("place", ["", "content/"])
def test_a_post_to_a_file_is_no_upload(api_client, place):
    url = f"/api/v1/artifacts/01920000-0000-7000-8000-000000000000/{place}"
    assert api_client.post(url).status_code == 405
