import base64
from types import SimpleNamespace

import pytest

from artifacts import inputs
from artifacts.inputs import register_inputs, restore_input, store_inputs
from artifacts.models import Artifact
from artifacts.store import open_artifact
from langbot.core.models import Workspace
from langbot.lib.ids import uuid7
from langbot.lib.redaction import redact
from runners.protocol.context import RunInput
from tests.support.stored_files import store_bytes

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
PNG_BASE64 = base64.b64encode(PNG).decode()
PNG_URL = f"data:image/png;base64,{PNG_BASE64}"

pytestmark = pytest.mark.django_db


def register(workspace, conversation, given):
    """Do both halves of what admission does with an input."""
    return register_inputs(conversation, store_inputs(workspace, given))


def restore_contents(contents):
    return restore_input({"contents": contents})["contents"]


@pytest.fixture
def workspace(settings, tmp_path):
    settings.LANGBOT = {**settings.LANGBOT, "DATA_DIR": tmp_path}
    return Workspace.objects.create(slug="files", name="Files")


@pytest.fixture
def conversation():
    return SimpleNamespace(public_id=uuid7())


@pytest.mark.parametrize(
    ("claimed", "data", "found"),
    [
        ("image/png", b"<script>", "application/octet-stream"),
        ("text/html", PNG, "image/png"),
        ("text/plain", b"hello", "text/plain"),
        ("", b"%PDF-1.7", "application/pdf"),
    ],
)
def test_a_file_is_of_the_type_that_its_bytes_have(workspace, claimed, data, found):
    payload = base64.b64encode(data).decode()
    given = {"attachments": [{"content": payload, "mime_type": claimed}]}
    register(workspace, None, given)
    assert Artifact.objects.get().mime_type == found


def test_text_without_files_stays_as_it_is(workspace):
    given = {"text": "hello", "contents": [{"type": "text", "text": "hello"}]}
    assert register(workspace, None, given) == given
    assert not Artifact.objects.exists()


@pytest.mark.parametrize("payload", [PNG_BASE64, PNG_URL])
def test_image_becomes_an_artifact_and_comes_back(workspace, conversation, payload):
    given = {"contents": [{"type": "image_base64", "image_base64": payload}]}
    stored = register(workspace, conversation, given)
    artifact = Artifact.objects.get()
    with open_artifact(artifact) as file:
        assert file.read() == PNG
    assert artifact.mime_type == "image/png"
    assert artifact.conversation_id_ref == conversation.public_id
    element = stored["contents"][0]
    assert element["artifact_id"] == str(artifact.public_id)
    assert element["image_base64"] == ""
    assert element["content_redacted"] is True
    assert PNG_BASE64 not in str(redact(stored))
    assert restore_contents(redact(stored)["contents"]) == [
        {"type": "image_base64", "image_base64": PNG_URL}
    ]


def test_data_url_of_an_image_url_is_stored_too(workspace):
    given = {"contents": [{"type": "image_url", "image_url": {"url": PNG_URL}}]}
    stored = register(workspace, None, given)
    assert stored["contents"][0]["image_url"] == {"url": ""}
    assert restore_contents(redact(stored)["contents"]) == given["contents"]


def test_addresses_are_kept_and_never_stored(workspace):
    given = {
        "contents": [
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            {"type": "file_url", "file_url": "https://example.org/a.pdf"},
        ]
    }
    stored = register(workspace, None, given)
    assert stored == given
    assert restore_contents(stored["contents"]) == given["contents"]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ("not base64!", "invalid_base64"),
        ("QUJD\n", "invalid_base64"),
        ("data:text/plain,hello", "invalid_base64"),
        ("A" * 16, "too_large"),
    ],
)
def test_bad_file_warns_and_leaves_the_message(workspace, monkeypatch, payload, code):
    monkeypatch.setattr(inputs, "INPUT_BYTES", 8)
    given = {
        "text": "look",
        "contents": [
            {"type": "file_base64", "file_base64": payload, "file_name": "a.txt"}
        ],
    }
    stored = register(workspace, None, given)
    assert stored["text"] == "look"
    assert stored["contents"][0]["error"] == code
    assert not Artifact.objects.exists()
    assert restore_contents(stored["contents"]) == [
        {"type": "text", "text": "[a.txt: not available]"}
    ]


def test_attachments_of_every_kind_are_registered(workspace, conversation):
    given = {
        "attachments": [
            {"type": "image", "name": "a.png", "content": PNG_BASE64},
            {"type": "file", "url": "https://example.org/a.pdf"},
            {"type": "voice", "ref": "platform-file-7"},
            {"name": "only a name", "path": "/etc/passwd"},
        ]
    }
    stored = register(workspace, conversation, given)
    kinds = list(Artifact.objects.order_by("pk").values_list("storage", flat=True))
    assert kinds == ["blob", "url", "platform_ref", "metadata_only"]
    assert all(one["id"] and one["artifact_id"] for one in stored["attachments"])
    assert all("path" not in one for one in stored["attachments"])
    restored = RunInput.model_validate(restore_input(redact(stored)))
    assert restored.attachments[0].content == PNG_URL
    assert restored.attachments[0].ref == str(Artifact.objects.earliest("pk").public_id)
    assert restored.attachments[1].url == "https://example.org/a.pdf"
    assert restored.attachments[2].ref == "platform-file-7"


def test_artifact_of_another_conversation_is_not_readable(workspace, conversation):
    secret = store_bytes(
        workspace,
        b"theirs",
        type="file",
        mime_type="text/plain",
        name="secret",
        source=Artifact.Source.PLATFORM,
        conversation=SimpleNamespace(public_id=uuid7()),
    )
    element = {"type": "file_base64", "artifact_id": str(secret.public_id)}
    given = {"contents": [element], "attachments": [dict(element)]}
    stored = register(workspace, conversation, given)
    assert "artifact_id" not in stored["contents"][0]
    assert stored["attachments"][0]["error"] == "unknown_artifact"
    assert base64.b64encode(b"theirs").decode() not in str(restore_input(stored))


def test_artifact_of_another_workspace_is_not_readable(workspace, conversation):
    other = Workspace.objects.create(slug="other", name="Other")
    theirs = store_bytes(
        other, b"x", type="file", mime_type="", name="", source="platform"
    )
    given = {
        "contents": [{"type": "file_base64", "artifact_id": str(theirs.public_id)}]
    }
    stored = register(workspace, conversation, given)
    assert stored["contents"][0]["error"] == "unknown_artifact"


def test_more_files_than_a_message_may_have_are_marked(workspace):
    element = {"type": "file_base64", "file_base64": "QUJD"}
    stored = register(workspace, None, {"contents": [element] * 21})
    errors = [one.get("error") for one in stored["contents"]]
    assert errors == [None] * 20 + ["too_many"]


def test_context_never_outgrows_a_frame(workspace, monkeypatch):
    monkeypatch.setattr(inputs, "INLINE_BYTES", 10)
    element = {
        "type": "file_base64",
        "file_base64": base64.b64encode(b"x" * 6).decode(),
    }
    stored = register(workspace, None, {"contents": [element, element]})
    monkeypatch.setattr(inputs._Restorer, "__init__", _limited(10))
    first, second = restore_contents(stored["contents"])
    assert first["file_base64"]
    assert second["type"] == "text"


def _limited(left):
    def init(self):
        self.left = left

    return init


@pytest.mark.parametrize("malformed", [None, "x", {"a": 1}, [1, None, "x"]])
def test_malformed_lists_are_empty_lists(workspace, malformed):
    stored = register(
        workspace, None, {"contents": malformed, "attachments": malformed}
    )
    assert stored == {"contents": [], "attachments": []}
