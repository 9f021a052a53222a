"""Package files become rows, and people's acts are audited."""

from io import BytesIO, StringIO

import pytest
from django.core.management import CommandError, call_command

from agents.models import PackageProcess, PackageVersion, Plugin, PluginToken
from agents.packages.archive import PackageError
from agents.packages.places import packages_root, upload_of
from agents.packages.services import install_package, remove_package
from agents.registry.tokens import verify_plugin_token
from langbot.core.models import AuditLog, Workspace
from tests.support.small_sdk import package_file

pytestmark = pytest.mark.django_db


def test_an_upload_waits_to_be_built_with_a_token_of_its_own(
    workspace, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        version = install_package(package_file(), workspace, author="ada")
    process = PackageProcess.objects.get()
    assert process.current is None
    token = verify_plugin_token(process.secret)
    assert token is not None
    assert (token.plugins, token.workspace) == (["acme/small"], workspace)
    assert upload_of(version).read_bytes() == package_file().getvalue()
    assert (packages_root() / "needed").exists()
    entry = AuditLog.objects.get(action="package uploaded")
    assert entry.actor == "ada"
    assert "'version': '1.0.0'" in str(entry.after)
    assert process.secret not in str(entry.after)


def test_a_refused_file_leaves_nothing(workspace):
    with pytest.raises(PackageError):
        install_package(BytesIO(b"no zip"), workspace, author="ada")
    with pytest.raises(PackageError, match="not of"):
        install_package(package_file(), workspace, author="ada", plugin="acme/other")
    assert not Plugin.objects.exists()
    install_package(package_file(), workspace, author="ada")
    before = sorted((packages_root() / "uploads").iterdir())
    with pytest.raises(PackageError, match="being built"):
        install_package(package_file(), workspace, author="ada")
    with pytest.raises(PackageError, match="another workspace"):
        other = Workspace.objects.create(slug="other", name="Other")
        install_package(package_file("2"), other, author="eve")
    with pytest.raises(PackageError, match="another workspace"):
        install_package(package_file("2"), None, author="eve")
    assert PackageVersion.objects.count() == 1
    assert sorted((packages_root() / "uploads").iterdir()) == before


def test_removing_ends_its_token_at_once(workspace):
    version = install_package(package_file(), workspace, author="ada")
    assert remove_package(version.plugin, author="ada")
    assert not remove_package(version.plugin, author="ada")
    process = PackageProcess.objects.get()
    assert process.is_removing
    assert process.secret == ""
    assert not PluginToken.objects.good().exists()
    with pytest.raises(PackageError, match="being removed"):
        install_package(package_file("2"), workspace, author="ada")


def test_commands_install_and_remove(workspace, tmp_path):
    path = tmp_path / "acme-small-1.0.0.lbpkg"
    path.write_bytes(package_file().getvalue())
    said = StringIO()
    call_command("installplugin", str(path), stdout=said)
    assert "acme/small 1.0.0 is uploaded" in said.getvalue()
    call_command("removeplugin", "acme/small", stdout=said)
    assert "is being removed" in said.getvalue()
    with pytest.raises(CommandError, match="no package acme/small"):
        call_command("removeplugin", "acme/small")
    with pytest.raises(CommandError, match="No such file"):
        call_command("installplugin", str(tmp_path / "missing"))
    path.write_bytes(b"x")
    with pytest.raises(CommandError, match="no zip"):
        call_command("installplugin", str(path))
