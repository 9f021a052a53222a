"""Results of remotely held runs, and packages: files before the transaction."""

import base64

import pytest
from django.db import connection

from agents.packages import services
from agents.packages.services import install_package
from artifacts import blobs
from artifacts.models import Artifact
from runners.runtimes.results import Target, append_result
from tests.runners.runtimes.test_leases import (  # noqa: F401  fixtures
    caller,
    claim,
    runtime,
    waiting,
)
from tests.support.small_sdk import package_file

pytestmark = pytest.mark.django_db(transaction=True)


def watched(monkeypatch, place, name):
    """Return whether each call of a function was made within a transaction."""
    found: list[bool] = []
    real = getattr(place, name)

    def watch(*given):
        found.append(connection.in_atomic_block)
        return real(*given)

    monkeypatch.setattr(place, name, watch)
    return found


def test_no_transaction_waits_for_a_file(
    caller,  # noqa: F811
    runtime,  # noqa: F811
    waiting,  # noqa: F811
    workspace,
    monkeypatch,
):
    waiting()
    run = claim(caller, runtime)
    written = watched(monkeypatch, blobs, "write")
    content = base64.b64encode(b"some bytes").decode()
    data = {"artifact_type": "file", "name": "a.txt", "content_base64": content}
    target = Target(caller, str(run.public_id))
    event = append_result(target, {"type": "artifact.created", "data": data})
    assert event.type == "artifact.created"
    assert Artifact.objects.get().size == len(b"some bytes")
    stored = watched(monkeypatch, services, "_store")
    install_package(package_file(), workspace, author="ada")
    assert (written, stored) == ([False], [False])
