import base64

import pytest
from django.utils import timezone

from artifacts.models import Artifact
from tests.factories import WorkspaceFactory
from tests.support.stored_files import store_bytes

ACTIONS = ["artifact_metadata", "artifact_read", "artifact_read_range"]
READS = ACTIONS[1:]
MIB = 1024 * 1024


def store(caller, content=b"hello", **more):
    artifact = store_bytes(
        caller.run.workspace,
        content,
        type="file",
        mime_type="text/plain",
        name="a.txt",
        source="runner",
        conversation=caller.run.conversation,
        **more,
    )
    return str(artifact.public_id)


def content(answer):
    return base64.b64decode(answer["content_base64"])


def test_metadata_tells_nothing_of_where_the_bytes_are(caller):
    artifact_id = store(caller)
    Artifact.objects.update(reference="/secret/path", metadata={"width": 1})
    answer = caller("artifact_metadata", artifact_id=artifact_id)
    assert answer.keys() == {
        *("artifact_id", "artifact_type", "mime_type", "name", "size_bytes", "sha256"),
        *("source", "conversation_id", "run_id", "runner_id", "created_at"),
        *("expires_at", "metadata"),
    }
    assert (answer["artifact_id"], answer["size_bytes"]) == (artifact_id, 5)
    assert answer["conversation_id"] == caller.facts.conversation_public_id
    assert "secret" not in str(answer)


def test_bytes_are_read_in_parts(caller):
    artifact_id = store(caller, b"0123456789")
    answer = caller("artifact_read", artifact_id=artifact_id, offset=8)
    assert answer == {
        "artifact_id": artifact_id,
        "mime_type": "text/plain",
        "size_bytes": 10,
        "offset": 8,
        "length": 2,
        "content_base64": "ODk=",
        "file_key": None,
        "has_more": False,
    }
    answer = caller("artifact_read", artifact_id=artifact_id, limit=4)
    assert (content(answer), answer["has_more"]) == (b"0123", True)
    answer = caller("artifact_read_range", artifact_id=artifact_id, offset=2, length=3)
    assert (content(answer), answer["has_more"]) == (b"234", True)
    answer = caller("artifact_read_range", artifact_id=artifact_id, offset=99)
    assert (content(answer), answer["has_more"]) == (b"", False)


@pytest.mark.parametrize(
    ("action", "given", "length"),
    [
        ("artifact_read", {}, MIB),
        ("artifact_read", {"limit": 2 * MIB}, 2 * MIB),
        ("artifact_read", {"limit": 2**40}, 10 * MIB),
        ("artifact_read_range", {}, 65_536),
        ("artifact_read_range", {"length": 2**40}, 10 * MIB),
    ],
)
def test_how_much_is_read_at_most(caller, action, given, length):
    artifact_id = store(caller, b"x" * (10 * MIB + 1))
    answer = caller(action, artifact_id=artifact_id, **given)
    assert (answer["length"], answer["has_more"]) == (length, True)
    assert len(answer["content_base64"]) < 16 * MIB - 1000  # it fits into a frame


@pytest.mark.parametrize("action", ACTIONS)
def test_other_conversations_do_not_exist(caller, caller_of, action):
    others = [caller_of(), caller_of(place=WorkspaceFactory.create())]
    for artifact_id in [*map(store, others), "nonsense", ""]:
        refused = caller.refused(action, artifact_id=artifact_id)
        assert refused == "not_found"
    mine = store(caller)
    Artifact.objects.filter(public_id=mine).update(workspace=others[1].run.workspace)
    assert caller.refused(action, artifact_id=mine) == "not_found"


@pytest.mark.parametrize("action", ACTIONS)
def test_expired_files_do_not_exist(caller, action):
    artifact_id = store(caller, expires_at=timezone.now())
    assert caller.refused(action, artifact_id=artifact_id) == "not_found"


@pytest.mark.parametrize("action", READS)
def test_bytes_elsewhere_are_not_fetched(caller, action):
    artifact_id = store(caller)
    Artifact.objects.update(storage="url", reference="http://127.0.0.1/")
    assert caller("artifact_metadata", artifact_id=artifact_id)
    assert caller.refused(action, artifact_id=artifact_id) == "not_found"


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({}, ACTIONS),
        ({"permissions": {}}, ACTIONS),  # released manifests have no word for it
        ({"artifacts": False}, []),
        ({"binding": {"artifacts": False}}, []),
        ({"kind": "AgentRunner"}, []),
        (
            {"kind": "AgentRunner", "permissions": {"artifacts": ["metadata"]}},
            ["artifact_metadata"],
        ),
        ({"kind": "AgentRunner", "permissions": {"artifacts": ["read"]}}, READS),
        (
            {
                "kind": "AgentRunner",
                "permissions": {"artifacts": ["metadata", "read"]},
                "artifacts": False,
            },
            [],
        ),
    ],
)
def test_who_may_read_files(caller_of, given, allowed):
    caller = caller_of(**given)
    artifact_id = store(caller)
    for action in ACTIONS:
        if action in allowed:
            caller(action, artifact_id=artifact_id)
        else:
            refused = caller.refused(action, artifact_id=artifact_id)
            assert refused == "permission_denied"


@pytest.mark.parametrize(
    "data",
    [{}, {"offset": -1}, {"limit": 0, "length": 0}, {"offset": 2**60}, {"offset": "x"}],
)
def test_wrong_requests_are_refused(caller, data):
    if data:
        data = {"artifact_id": store(caller), **data}
    for action in READS:
        assert caller.refused(action, **data) == "invalid_request"
