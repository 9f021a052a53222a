"""Files that runners make, and texts too large for the ledger (LB-59, C-24)."""

import base64
import hashlib
import json

import pytest

from artifacts.models import Artifact
from artifacts.store import open_artifact, purge_orphans
from runners.engine.results import ResultLog
from runners.engine.snapshot import freeze, load_runs
from runners.ledger.batches import Batch, write_batches
from runners.ledger.positions import run_outputs
from runners.models import AgentRun, Delivery, RunEvent, TranscriptItem
from tests.factories import BotFactory
from tests.runners.admin_rows import make_run
from tests.support import ledger

MIB = 1024 * 1024
PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


@pytest.fixture
def run(agent):
    bot = BotFactory.create(workspace=agent.workspace)
    return ledger.begin(make_run(agent, status="queued", bot_id=bot.public_id))


@pytest.fixture
def log(run):
    (loaded,) = load_runs([run.pk])
    return ResultLog(freeze(loaded))


@pytest.fixture
def feed(log):
    def feed(kind, **data):
        raw = {"type": kind, "data": data, "sequence": log.last_sequence + 1}
        size = len(json.dumps(data))
        log.apply({**raw, "run_id": str(log.facts.public_id)}, size)

    return feed


def write(run, log):
    """Write a batch as the engine does."""
    events, log.events = log.events, []
    if log.ending is not None:
        events.append(log.ending.event())
    batch = Batch(
        run.pk,
        run.conversation_id,
        ledger.TOKEN,
        events,
        files=log.files.take(),
        ending=log.ending,
    )
    return write_batches([batch])


def encoded(content):
    return base64.b64encode(content).decode()


def warnings(log):
    return [event.data["code"] for event in log.events if event.type == "warning"]


def said(text):
    return {"role": "assistant", "content": text}


def test_a_file_is_stored_and_told_by_its_id(run, log, feed):
    feed(
        "artifact.created",
        artifact_type="image",
        name="cat.png",
        mime_type="image/png",
        content_base64=encoded(PNG),
        sha256=hashlib.sha256(PNG).hexdigest(),
        size=len(PNG),
        artifact_id="mine",
        metadata={"width": 1, "api_key": "sk-secret"},
    )
    feed("run.completed", message=said("Here it is"))
    write(run, log)
    artifact = Artifact.objects.get()
    with open_artifact(artifact) as file:
        assert file.read() == PNG
    assert (artifact.source, artifact.type) == ("runner", "image")
    assert artifact.conversation_id_ref == run.conversation.public_id
    assert artifact.run_id_ref == run.public_id
    event = RunEvent.objects.get(run=run, type="artifact.created")
    assert event.data["artifact_id"] == str(artifact.public_id)
    assert event.data["metadata"]["runner_artifact_id"] == "mine"
    stored = json.dumps(list(RunEvent.objects.values_list("data", flat=True)))
    assert encoded(PNG) not in stored
    assert "sk-secret" not in stored


def test_the_reply_names_the_files_of_its_run(run, log, feed):
    for name in ("a.txt", "b.txt"):
        feed(
            "artifact.created",
            artifact_type="file",
            name=name,
            content_base64=encoded(name.encode()),
        )
    feed("run.completed", message=said("Two files"))
    write(run, log)
    references = TranscriptItem.objects.get(role="assistant").artifact_refs
    ids = [str(one.public_id) for one in Artifact.objects.order_by("pk")]
    assert [one["artifact_id"] for one in references] == ids
    assert references[0].items() >= {"name": "a.txt", "type": "file", "size": 5}.items()
    assert Delivery.objects.get().payload["artifacts"] == references


def test_a_file_alone_is_an_answer(run, log, feed):
    feed("artifact.created", artifact_type="file", content_base64="eA==")
    feed("run.completed")
    assert log.ending.status == "completed"
    write(run, log)
    item = TranscriptItem.objects.get(role="assistant")
    assert (item.text, len(item.artifact_refs)) == ("", 1)
    assert Delivery.objects.exists()


def test_a_file_elsewhere_is_only_described(run, log, feed):
    feed("artifact.created", artifact_type="video", size=5_000_000_000, name="v")
    write(run, log)
    artifact = Artifact.objects.get()
    assert (artifact.storage, artifact.size) == ("metadata_only", 5_000_000_000)


@pytest.mark.parametrize(
    "wrong", [{"size": 7}, {"sha256": "0" * 64}], ids=["size", "sha256"]
)
def test_what_is_said_of_a_file_must_be_true(log, feed, wrong):
    feed("artifact.created", artifact_type="f", content_base64="eA==", **wrong)
    assert warnings(log) == ["artifact_refused"]
    assert log.files.take() == []


def test_a_file_that_only_claims_to_be_an_image_is_of_no_type(run, log, feed):
    html = encoded(b"<script>alert(1)</script>")
    kind = {"artifact_type": "image", "mime_type": "image/png"}
    feed("artifact.created", content_base64=html, **kind)
    write(run, log)
    assert Artifact.objects.get().mime_type == "application/octet-stream"


@pytest.mark.parametrize(("size", "is_kept"), [(MIB, True), (MIB + 1, False)])
def test_both_sides_of_the_inline_limit(log, feed, size, is_kept):
    content = encoded(b"x" * size)
    feed("artifact.created", artifact_type="file", content_base64=content)
    assert [file.size for file in log.files.take()] == [size] * is_kept
    assert warnings(log) == ["invalid_result"] * (not is_kept)


def test_a_run_makes_so_many_files(log, feed, settings):
    settings.LANGBOT = {**settings.LANGBOT, "LIMITS": {"run_artifacts": 2}}
    for _ in range(3):
        feed("artifact.created", artifact_type="file", content_base64="eA==")
    assert warnings(log) == ["artifact_refused"]
    assert len(log.files.take()) == 2


def test_a_run_that_was_lost_leaves_no_file(run, log, feed):
    feed("artifact.created", artifact_type="file", content_base64=encoded(b"lost"))
    AgentRun.objects.filter(pk=run.pk).update(fencing_token=ledger.TOKEN + 1)
    write(run, log)
    assert not Artifact.objects.exists()
    assert purge_orphans() == 0  # it is young; the sweep takes it later


def test_an_adopter_knows_the_files(run, log, feed):
    feed("artifact.created", artifact_type="file", name="a", content_base64="eA==")
    write(run, log)
    adopted = ResultLog(log.facts)
    adopted.files.resume(run_outputs([run])[run.pk].files)
    assert adopted.files.references == log.files.references
    reply = adopted.reply(complete=True)
    assert reply is not None
    assert reply.artifact_refs == log.files.references


def whole_texts():
    texts = []
    for artifact in Artifact.objects.filter(type="text").order_by("pk"):
        with open_artifact(artifact) as file:
            texts.append(file.read().decode())
    return texts


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("message.completed", lambda text: {"message": said(text)}),
        (
            "message.completed",
            lambda text: {"message": said([{"type": "text", "text": text}])},
        ),
        ("message.delta", lambda text: {"chunk": said(text)}),
        ("reasoning.delta", lambda text: {"text": text}),
        ("processor.log", lambda text: {"text": text}),
        ("run.completed", lambda text: {"message": said(text)}),
    ],
)
def test_a_text_over_1_mib_is_kept_whole_as_a_file(run, log, feed, kind, data):
    text = "天气 " * 300_000
    feed(kind, **data(text))
    assert warnings(log) == ["too_large"]
    write(run, log)
    assert whole_texts() == [text]
    rows = RunEvent.objects.filter(run=run).values_list("data", flat=True)
    told = [json.dumps(data, ensure_ascii=False) for data in rows]
    assert any(text[:10_000] in data for data in told)
    assert all(len(data) < 50_000 for data in told)


@pytest.mark.parametrize(("more", "kept"), [(0, 0), (1, 1)])
def test_both_sides_of_1_mib(run, log, feed, more, kept):
    envelope = len(json.dumps({"message": said("")}, separators=(",", ":")))
    feed("message.completed", message=said("x" * (MIB - envelope + more)))
    write(run, log)
    assert len(whole_texts()) == kept
    assert RunEvent.objects.filter(run=run, type="warning").count() == kept


def test_a_growing_text_stays_whole_in_the_ledger(run, log, feed):
    text = ""
    for _ in range(8):
        text += "x" * 200_000
        feed("message.delta", chunk=said(text))
    feed("message.completed", message=said(text))
    feed("run.completed", message=said(text))
    assert warnings(log) == []
    assert log.ending.reply.text == text
    write(run, log)
    assert whole_texts() == []


def test_a_large_text_that_is_repeated_is_kept_once(run, log, feed):
    text = "x" * (2 * MIB)
    feed("message.completed", message=said(text))
    feed("run.completed", message=said(text))
    assert log.ending.reply.text == text[:10_000]
    write(run, log)
    assert whole_texts() == [text]
    assert len(TranscriptItem.objects.get(role="assistant").artifact_refs) == 1


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("tool.call.completed", {"tool_call_id": "t", "result": "x" * 2 * MIB}),
        ("state.updated", {"scope": "actor", "key": "k", "value": "x" * 2 * MIB}),
        (
            "message.completed",
            {
                "message": {
                    **said("x"),
                    "provider_specific_fields": {"x": "x" * 2 * MIB},
                }
            },
        ),
        ("message.delta", {"chunk": "x" * 2 * MIB}),
        ("vendor.custom", {"text": "x" * 2 * MIB}),
    ],
)
def test_anything_else_over_1_mib_is_refused(log, feed, kind, data):
    feed(kind, **data)
    assert warnings(log) == ["too_large"]
    assert log.files.take() == []
