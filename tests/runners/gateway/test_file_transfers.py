"""Files that come in slices reach the run that names them, and no other."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from runners.access import Access
from runners.engine.active import ActiveRun, Tenure
from runners.engine.placement import Place
from runners.engine.snapshot import RunFacts
from runners.gateway.files import MAX_FILE_BYTES, FileReceiver
from runners.gateway.messages import join_frames
from runners.protocol.errors import ProtocolError
from runners.protocol.frames import FILE_SLICE_BYTES, encode

KEY = "ft1_" + "a" * 64 + ".txt"


def transfer(receiver, content, key=KEY):
    slices = [
        content[start : start + FILE_SLICE_BYTES]
        for start in range(0, len(content), FILE_SLICE_BYTES)
    ] or [b""]
    for index, part in enumerate(slices):
        receiver.accept(
            {
                "file_key": key,
                "file_length": len(content),
                "chunk_base64": base64.b64encode(part).decode(),
                "chunk_index": index,
                "chunk_amount": len(slices),
                "chunk_size": FILE_SLICE_BYTES,
            }
        )


def carried(**rights):
    facts = RunFacts(
        pk=1,
        public_id=uuid4(),
        conversation_id=1,
        conversation_public_id=str(uuid4()),
        workspace_id=1,
        runner_id="plugin:acme/helper/r",
        event_type="message.received",
        access=Access(artifacts=True, **rights),
        scope_keys={},
        snapshot={},
        deadline_at=datetime.now(UTC) + timedelta(minutes=1),
    )
    tenure = Tenure(1, 1, Place("node", uuid4()))
    return ActiveRun(facts, tenure, lambda *_: None)


def feed(active, *frames):
    active.feed("1-0", join_frames(frames))


def completed(active, names, sequence=1):
    data = {
        "run_id": str(active.facts.public_id),
        "type": "message.completed",
        "data": {"message": {"content": "Here"}, "file_ids": names},
        "sequence": sequence,
    }
    return encode({"seq_id": 1, "code": 0, "message": "", "data": data})


def kinds(active):
    return [str(event.type) for event in active.log.events]


def test_a_transferred_file_becomes_an_artifact_of_the_run_that_names_it():
    receiver, active = FileReceiver(), carried()
    content = b"hello " * 5000
    transfer(receiver, content)
    frames = receiver.frames_of([KEY, "else", 5])
    assert len(frames) == 1
    feed(active, *frames, completed(active, [KEY]))
    assert kinds(active) == ["artifact.created", "message.completed"]
    made, message = active.log.events
    assert made.data["sha256"] == hashlib.sha256(content).hexdigest()
    assert made.data["name"] == "file.txt"
    reference = message.data["artifacts"][0]
    assert reference["artifact_id"] == made.data["artifact_id"]
    (file,) = active.take_batch().files
    assert (file.content, file.mime_type) == (content, "text/plain")
    assert receiver.frames_of([KEY]) == []  # it was handed over


def test_frames_that_come_again_make_no_second_file():
    receiver, active = FileReceiver(), carried()
    transfer(receiver, b"x")
    (frame,) = receiver.frames_of([KEY])
    feed(active, frame, frame)
    assert kinds(active) == ["artifact.created"]
    successor = carried()
    successor.log.files.resume([event.data for event in active.log.events])
    feed(successor, frame, completed(successor, [KEY]))
    assert kinds(successor) == ["message.completed"]
    assert successor.log.events[0].data["artifacts"]


def test_an_unknown_file_is_a_warning():
    active = carried()
    feed(active, completed(active, [KEY]))
    warning, message = active.log.events
    assert (warning.type, warning.data["code"]) == ("warning", "not_found")
    assert "artifacts" not in message.data


def test_a_run_without_the_right_gets_no_file():
    receiver, active = FileReceiver(), carried()
    active.facts.access.artifacts = False
    transfer(receiver, b"x")
    feed(active, *receiver.frames_of([KEY]))
    assert active.log.events[0].data["code"] == "artifact_refused"
    assert active.take_batch().files == []


def test_files_nobody_names_make_room():
    receiver = FileReceiver()
    keys = [f"ft1_{number:064x}" for number in range(9)]
    for key in keys:
        transfer(receiver, bytes(MAX_FILE_BYTES), key)
    held = [key for key in keys if receiver.frames_of([key])]
    assert held == keys[1:]
    with pytest.raises(ProtocolError):
        transfer(receiver, bytes(MAX_FILE_BYTES + 1))
