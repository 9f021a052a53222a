import hashlib
import os
import threading
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from artifacts import blobs
from artifacts.models import Artifact
from artifacts.store import (
    ArtifactMissingError,
    find_artifact,
    open_artifact,
    purge_expired,
    purge_orphans,
)
from langbot.core.models import Workspace
from tests.support.stored_files import store_bytes

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(settings, tmp_path):
    settings.LANGBOT = {**settings.LANGBOT, "DATA_DIR": tmp_path}
    return tmp_path / "artifacts"


@pytest.fixture
def workspace(root):
    return Workspace.objects.create(slug="files", name="Files")


def store(workspace, data=b"hello", **more):
    return store_bytes(
        workspace,
        data,
        type="file",
        mime_type="text/plain",
        name="a.txt",
        source=Artifact.Source.PLATFORM,
        **more,
    )


def path_of(root, artifact):
    return root / artifact.sha256[:2] / artifact.sha256


def read(artifact):
    with open_artifact(artifact) as file:
        return file.read()


def grow_old(path):
    os.utime(path, (time.time() - 7200,) * 2)


def test_bytes_are_addressed_by_their_hash_and_shared(workspace, root):
    first, second = store(workspace), store(workspace)
    assert first.sha256 == hashlib.sha256(b"hello").hexdigest()
    assert path_of(root, first).read_bytes() == b"hello"
    assert path_of(root, first).stat().st_mode & 0o777 == 0o600
    assert len(list(root.glob("??/*"))) == 1
    assert read(second) == b"hello"


def test_expired_artifact_looks_nonexistent(workspace):
    gone = store(workspace, expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(ArtifactMissingError):
        open_artifact(gone)
    with pytest.raises(ArtifactMissingError):
        find_artifact(workspace, gone.public_id)


def test_find_knows_only_its_workspace(workspace):
    other = Workspace.objects.create(slug="other", name="Other")
    kept = store(workspace)
    assert find_artifact(workspace, str(kept.public_id)) == kept
    for place, wanted in [(other, kept.public_id), (workspace, "not an id")]:
        with pytest.raises(ArtifactMissingError):
            find_artifact(place, wanted)


@pytest.mark.parametrize("kind", ["file link", "folder link", "pipe", "folder"])
def test_read_refuses_what_is_not_a_contained_regular_file(
    workspace, root, tmp_path, kind
):
    artifact = store(workspace)
    path = path_of(root, artifact)
    path.unlink()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / path.name).write_bytes(b"secret")
    if kind == "file link":
        path.symlink_to(outside / path.name)
    elif kind == "folder link":
        path.parent.rmdir()
        path.parent.symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(ArtifactMissingError):
        open_artifact(artifact)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "a" * 63])
def test_read_refuses_names_that_are_no_hash(root, digest):
    with pytest.raises(blobs.BlobMissingError):
        blobs.open_blob(digest)


def test_purge_removes_expired_rows_and_only_their_blobs(workspace, root):
    past = timezone.now() - timedelta(seconds=1)
    lonely = store(workspace, b"lonely", expires_at=past)
    shared = store(workspace, b"shared", expires_at=past)
    kept = store(workspace, b"shared")
    for artifact in (lonely, shared):
        grow_old(path_of(root, artifact))
    assert purge_expired() == 2
    assert not path_of(root, lonely).exists()
    assert read(kept) == b"shared"
    assert list(Artifact.objects.all()) == [kept]
    assert purge_expired() == 0


def test_orphans_go_after_an_hour_and_not_before(workspace, root):
    old, young, used = (blobs.write(data) for data in (b"old", b"young", b"used"))
    store(workspace, b"used")
    leftover = root / old[:2] / "draft-1"
    leftover.write_bytes(b"half")
    for path in (root / old[:2] / old, root / used[:2] / used, leftover):
        grow_old(path)
    assert purge_orphans() == 2
    assert set(blobs.digests()) == {young, used}


def test_discard_never_takes_a_blob_that_is_being_stored_again(root):
    """A thousand races of a writer against the orphan sweep; the writer always wins."""
    digest = blobs.write(b"contended")
    path = root / digest[:2] / digest
    lost = []
    for _ in range(1000):
        grow_old(path)
        barrier = threading.Barrier(2)

        def sweep(barrier=barrier):
            barrier.wait()
            blobs.discard(digest, 3600)

        sweeper = threading.Thread(target=sweep)
        sweeper.start()
        barrier.wait()
        blobs.write(b"contended")
        sweeper.join()
        if not path.exists():
            lost.append(1)
            blobs.write(b"contended")
    assert not lost
