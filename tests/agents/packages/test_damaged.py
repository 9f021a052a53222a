"""A package that is broken in any way ends as failed; the others go on."""

import io
import logging
import signal
import struct
import zipfile
from typing import Any

import pytest
from django.db.models import TextField, Value

from agents.choices import BuildStatus, ProcessStatus
from agents.models import PackageProcess, PluginToken
from agents.packages import archive, builder, keeper
from agents.packages.archive import PackageError, inspect_package, unpack_package
from agents.packages.guard_output import OutputGuard
from agents.packages.places import folder_of, packages_root, upload_of
from agents.packages.processes import GuardedProcess
from agents.packages.progress import prune_versions
from agents.packages.services import (
    install_package,
    remove_package,
    renew_token,
    use_version,
)
from agents.packages.supervisor import PackageSupervisor
from agents.registry.models import Plugin
from tests.support.small_sdk import package_file

LATE = b"".join(b"%d " % number for number in range(5_000))


def damaged():
    """Return a package that passes upload: only the stream of one file is broken."""
    file = package_file()
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as made:
        made.writestr("late.txt", LATE)
        member = made.getinfo("late.txt")
    content = bytearray(file.getvalue())
    begin = member.header_offset + 30 + len(member.filename)
    content[begin + 9 : begin + 200] = b"\xff" * 191
    return io.BytesIO(bytes(content))


def test_a_damaged_file_cannot_be_unpacked(tmp_path):
    path = tmp_path / "x.lbpkg"
    path.write_bytes(damaged().getvalue())
    with pytest.raises(PackageError, match=r"late\.txt cannot be unpacked"):
        unpack_package(path, tmp_path / "code")


def test_local_names_that_are_no_text_are_refused(tmp_path):
    name = "né"  # the local header says so in UTF-8
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr(name, "x")
    path = tmp_path / "x.lbpkg"
    path.write_bytes(file.getvalue().replace(name.encode(), b"n\xff\xfe", 1))
    with pytest.raises(PackageError, match="cannot be unpacked"):
        unpack_package(path, tmp_path / "code")


def test_a_damaged_manifest_is_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("manifest.yaml", LATE)
    content = bytearray(file.getvalue())
    content[60:200] = b"\xff" * 140
    with pytest.raises(PackageError, match="cannot be unpacked"):
        inspect_package(io.BytesIO(bytes(content)))


def test_a_version_of_zip_that_nobody_reads_is_refused():
    content = bytearray(package_file().getvalue())
    at = content.index(b"PK\x01\x02")
    content[at + 6 : at + 8] = struct.pack("<H", 99)  # needed to extract: 9.9
    with pytest.raises(PackageError, match="no zip archive"):
        inspect_package(io.BytesIO(bytes(content)))


def test_many_files_are_refused_before_their_names_are_read(monkeypatch):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for number in range(archive.MEMBERS + 1):
            made.writestr(f"{number:0400}", "")
    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", _never)
    with pytest.raises(PackageError, match="5,000"):
        inspect_package(file)


def test_sizes_of_64_bits_are_refused(monkeypatch):
    """They are written beside the end, and override it; 50 MB need none."""
    content = package_file().getvalue()
    at = content.index(b"PK\x05\x06")
    locator = b"PK\x06\x07" + bytes(16)
    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", _never)
    with pytest.raises(PackageError, match="no zip archive"):
        inspect_package(io.BytesIO(content[:at] + locator + content[at:]))


def _never(_archive):
    pytest.fail("the directory was read")


@pytest.fixture
def supervisor():
    made = PackageSupervisor("ws://127.0.0.1:9/ws/plugin/")
    yield made
    made._around.selector.close()


@pytest.mark.django_db
def test_a_damaged_package_fails_and_the_next_is_built(
    supervisor, workspace, monkeypatch
):
    begun = []
    monkeypatch.setattr(builder.Builder, "_make", lambda *given: begun.append(given))
    bad = install_package(damaged(), workspace, author="ada")
    good = install_package(package_file(name="good"), workspace, author="ada")
    for _ in range(2):
        supervisor._follow()
    bad.refresh_from_db()
    assert bad.status == BuildStatus.FAILED
    assert "late.txt" in bad.error
    assert not folder_of(bad).exists()
    assert [version for _builder, _folder, version in begun] == [good]


@pytest.mark.django_db
def test_what_nobody_foresaw_fails_one_build(
    supervisor, workspace, monkeypatch, caplog
):
    def broken(*_):
        raise ZeroDivisionError

    version = install_package(package_file(), workspace, author="ada")
    monkeypatch.setattr(builder, "unpack_package", broken)
    with caplog.at_level(logging.ERROR):
        supervisor._follow()
    version.refresh_from_db()
    assert (version.status, version.error) == (
        BuildStatus.FAILED,
        "the host failed: ZeroDivisionError",
    )
    assert "acme/small" in caplog.text
    assert not supervisor._builder.is_busy


@pytest.mark.django_db
def test_a_build_that_cannot_be_ended_is_killed_and_given_up(
    supervisor, workspace, monkeypatch
):
    version = install_package(package_file(), workspace, author="ada")
    child = GuardedProcess(
        command=["sleep", "600"],
        folder=packages_root(),
        environment={},
        marker="build:",
        output=OutputGuard(lambda _: None, []),
        selector=supervisor._around.selector,
    )
    monkeypatch.setattr(builder.Builder, "_make", lambda *_: child)
    supervisor._follow()
    process: Any = child.process
    assert process.poll() is None
    monkeypatch.setattr(child, "has_ended", end_nothing)
    supervisor._follow()
    assert process.wait(10) == -signal.SIGKILL
    process.stdout.close()
    version.refresh_from_db()
    assert version.error == "the host failed: TimeoutError"


def end_nothing():
    raise TimeoutError


@pytest.mark.django_db
def test_a_failing_keeper_does_not_stop_the_others(supervisor, workspace, monkeypatch):
    for name in ("one", "two"):
        install_package(package_file(name=name), workspace, author="ada")
    followed = []

    def follow(_keeper, row):
        followed.append(row.plugin.name)
        raise ZeroDivisionError

    monkeypatch.setattr(keeper.Keeper, "follow", follow)
    monkeypatch.setattr(builder.Builder, "follow", lambda _: followed.append("builder"))
    supervisor._follow()
    assert sorted(followed) == ["acme/one", "acme/two", "builder"]


@pytest.mark.django_db
def test_a_token_that_cannot_be_read_is_said_and_can_be_replaced(supervisor, workspace):
    version = install_package(package_file(), workspace, author="ada")
    PackageProcess.objects.update(current=version)
    spoil_token()
    for _ in range(2):
        supervisor._follow()
    row = PackageProcess.objects.defer("secret").get()
    assert row.status == ProcessStatus.STOPPED
    assert row.reason == "its token cannot be read; give it another one"
    assert renew_token(Plugin.objects.get(), author="ada")
    assert PackageProcess.objects.get().secret


@pytest.mark.django_db
def test_a_package_whose_token_cannot_be_read_is_updated_and_removed(workspace):
    install_package(package_file(), workspace, author="ada")
    spoil_token()
    install_package(package_file("2"), workspace, author="ada")
    assert remove_package(Plugin.objects.get(), author="ada")
    assert not PluginToken.objects.good().exists()
    with pytest.raises(PackageError, match="being removed"):
        install_package(package_file("3"), workspace, author="ada")


def spoil_token():
    spoilt = Value("no token of ours", output_field=TextField())
    PackageProcess.objects.update(secret=spoilt)  # as it is, not encrypted


@pytest.mark.django_db
def test_a_version_that_a_person_chose_meanwhile_is_kept(workspace):
    made = [
        install_package(package_file(number), workspace, author="ada")
        for number in ("1", "2", "3")
    ]
    Plugin.objects.get().versions.update(status=BuildStatus.READY)
    process = PackageProcess.objects.get()
    process.current = made[2]
    process.save()
    assert use_version(made[0], author="ada")
    prune_versions(process)  # it still believes that the third one runs
    made[0].refresh_from_db()
    assert made[0].status == BuildStatus.READY
    assert upload_of(made[0]).exists()
    assert not use_version(made[0], author="ada"), "it runs already"


@pytest.mark.django_db
def test_versions_before_the_former_one_are_pruned(workspace):
    made = [
        install_package(package_file(number), workspace, author="ada")
        for number in ("1", "2", "3")
    ]
    Plugin.objects.get().versions.update(status=BuildStatus.READY)
    PackageProcess.objects.update(current=made[2])
    prune_versions(PackageProcess.objects.get())
    kept = Plugin.objects.get().versions.filter(status=BuildStatus.READY)
    assert list(kept) == [made[2], made[1]]
    assert not upload_of(made[0]).exists()
    assert not use_version(made[0], author="ada")
