"""What registering does to plugins: rows, risk classes, icons, switches."""

from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from agents.models import Plugin, PluginConnection, RunnerDescriptor
from agents.registry.connections import (
    Origin,
    RegistrationRefusedError,
    disabled_runners,
    register,
    revoked,
)
from agents.registry.harness import executes_code
from agents.registry.presentation import picture_type, store_presentation
from agents.registry.switches import archive_plugin, switch_plugin
from agents.registry.tokens import create_plugin_token
from langbot.core.models import Workspace
from runners.protocol.manifest import parse_container
from tests.support.plugin_manifests import plugin_container, runner_component

pytestmark = pytest.mark.django_db
NAME = "ann/tools"


def connect(workspace, *components, node="node"):
    token, _ = create_plugin_token("test", workspace=workspace, plugins=["*"])
    parts = components or (runner_component("Runner"),)
    manifest = parse_container(plugin_container("ann", "tools", parts))
    register(token, manifest, Origin(uuid4(), node, "test"), {})
    return token


def test_a_plugin_has_a_row_and_comes_back_from_the_archive(workspace):
    connect(workspace)
    plugin = Plugin.objects.get(name=NAME)
    assert (plugin.workspace, plugin.version) == (workspace, "0.1.0")
    archive_plugin(plugin)
    assert disabled_runners() == {f"plugin:{NAME}/default"}
    connect(workspace)
    plugin.refresh_from_db()
    assert plugin.archived_at is None
    assert disabled_runners() == set()


def test_a_new_runner_of_a_disabled_plugin_is_off_too(workspace):
    connect(workspace)
    switch_plugin(Plugin.objects.get(), on=False, author="ada")
    connect(workspace, runner_component("Runner", "second"))
    assert disabled_runners() == {f"plugin:{NAME}/default", f"plugin:{NAME}/second"}
    switch_plugin(Plugin.objects.get(), on=True, author="ada")
    assert disabled_runners() == set()


def test_a_name_is_of_one_workspace_and_another_one_is_told_so(workspace):
    connect(workspace)
    other = Workspace.objects.create(slug="other", name="Other")
    for component in (runner_component("Runner"), runner_component("Runner", "more")):
        with pytest.raises(RegistrationRefusedError, match="another author or name"):
            connect(other, component)
    with pytest.raises(RegistrationRefusedError, match="another workspace"):
        connect(other, runner_component("Unknown", "odd"))
    assert Plugin.objects.get(name=NAME).workspace == workspace
    assert not RunnerDescriptor.objects.filter(workspace=other).exists()
    assert not PluginConnection.objects.filter(workspace=other).exists()
    assert store_presentation(NAME, other.pk, b"", b"evil") is False


def test_a_token_for_all_takes_a_name_over_and_then_all_may_serve_it(workspace):
    connect(workspace)
    connect(None)
    assert Plugin.objects.get(name=NAME).workspace is None
    other = Workspace.objects.create(slug="other", name="Other")
    connect(other, runner_component("Runner", "theirs"))
    assert Plugin.objects.get(name=NAME).workspace is None
    switch_plugin(Plugin.objects.get(name=NAME), on=False, author="ada")
    theirs = RunnerDescriptor.objects.get(workspace=other)
    assert not theirs.is_usable


def test_a_harness_is_off_when_it_first_comes_and_when_it_becomes_one(workspace):
    code = [{"name": "args_json", "type": "text"}]
    connect(workspace, runner_component("Runner", "one", config=code))
    one = RunnerDescriptor.objects.get(runner_id__endswith="/one")
    assert (one.risk, one.enabled) == ("harness", False)
    connect(workspace, runner_component("Runner", "two"))
    two = RunnerDescriptor.objects.get(runner_id__endswith="/two")
    assert (two.risk, two.enabled) == ("ordinary", True)
    connect(workspace, runner_component("Runner", "two", config=code))
    two.refresh_from_db()
    assert (two.risk, two.enabled) == ("harness", False)
    with pytest.raises(IntegrityError), transaction.atomic():
        RunnerDescriptor.objects.filter(pk=two.pk).update(enabled=True)


@pytest.mark.parametrize(
    ("names", "is_harness"),
    [
        (["model", "prompt", "timeout"], False),
        (["base-url", "api-key", "workspace"], False),
        (["acp-command"], True),
        (["command", "workspace"], True),
        (["ENV_JSON"], True),
        (["ssh-host"], True),
        (["daemon-id"], True),
    ],
)
def test_a_harness_is_told_by_its_settings(names, is_harness):
    assert executes_code([{"name": name} for name in names]) is is_harness


def test_sockets_of_a_token_close_when_its_grace_is_over(workspace):
    from datetime import UTC, datetime, timedelta

    token = connect(workspace, node="n1")
    token.expires_at = datetime.now(UTC) + timedelta(hours=1)
    token.save()
    assert revoked("n1") == set()
    token.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    token.save()
    assert len(revoked("n1")) == 1


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>'


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF....WEBPVP8 ", "image/webp"),
        (SVG, "image/svg+xml"),
        (b'<?xml version="1.0"?>\n<!-- made by hand -->\n' + SVG, "image/svg+xml"),
        (
            b'<svg><path fill="url(#a)"/><path fill="url(\'#b\')"/></svg>',
            "image/svg+xml",
        ),
        (b"", ""),
        (b"<html><svg></svg>", ""),
        (b"<svg><script>alert(1)</script></svg>", ""),
        (b'<svg onload="alert(1)"></svg>', ""),
        (b'<!DOCTYPE svg [<!ENTITY x "y">]><svg></svg>', ""),
        (b'<svg><a href="javascript:x"/></svg>', ""),
        (b"<svg><style>p{background:url(https://evil.test/)}</style></svg>", ""),
        (b'<svg><image href="https://evil.test/x"/></svg>', ""),
        (b"<!-- never ends" + b"<!--" * 60_000, ""),
        (b"\x89PNG\r\n\x1a\n" + b"x" * (256 * 1024), ""),
    ],
)
def test_an_icon_is_what_its_bytes_say(content, kind):
    assert picture_type(content) == kind


def test_what_a_plugin_shows_is_kept_and_a_wrong_icon_dropped(workspace):
    connect(workspace)
    assert store_presentation(NAME, workspace.pk, SVG, b"# Hello\x00\xff")
    plugin = Plugin.objects.get()
    assert bytes(plugin.icon or b"") == SVG
    assert plugin.readme == "# Hello�"
    store_presentation(NAME, workspace.pk, b"MZ...", b"")
    plugin.refresh_from_db()
    assert (plugin.icon, plugin.icon_type, plugin.readme) == (None, "", "")
