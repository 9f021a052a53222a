"""What a package file may be."""

import io
import stat
import zipfile

import pytest

from agents.packages import archive
from agents.packages.archive import PackageError, inspect_package, unpack_package

MANIFEST = """
apiVersion: v1
kind: Plugin
metadata: {author: acme, name: packed, version: 1.0.0}
"""


def package(*members, manifest=MANIFEST, compression=zipfile.ZIP_STORED):
    """Return a zip of (name or ZipInfo, content) with a manifest."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        if manifest is not None:
            made.writestr("manifest.yaml", manifest)
        for name, content in members:
            made.writestr(name, content)
    return file


def refused(file):
    with pytest.raises(PackageError) as caught:
        inspect_package(file)
    return str(caught.value)


def test_a_package_says_what_it_is():
    facts = inspect_package(package(("main.py", "x"), ("a/", "")))
    assert (facts.plugin, facts.version) == ("acme/packed", "1.0.0")
    assert len(facts.sha256) == 64


def test_it_unpacks_for_its_owner_only(tmp_path):
    path = tmp_path / "x.lbpkg"
    path.write_bytes(package(("a/main.py", "print()")).getvalue())
    unpack_package(path, tmp_path / "code")
    made = tmp_path / "code" / "a" / "main.py"
    assert made.read_text() == "print()"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "code" / "a").stat().st_mode) == 0o700


def test_no_zip_is_refused():
    assert "no zip" in refused(io.BytesIO(b"hello"))
    cut = io.BytesIO(package(("a", "b" * 1000)).getvalue()[:700])
    assert "no zip" in refused(cut)


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "a\\..\\b"])
def test_names_that_lead_out_are_refused(name, tmp_path):
    file = package((name, "x"))
    refused(file)
    path = tmp_path / "x.lbpkg"
    path.write_bytes(file.getvalue())
    with pytest.raises(PackageError):
        unpack_package(path, tmp_path / "code" / "inner")
    assert not (tmp_path / "code" / "evil").exists()


def test_links_and_devices_are_refused():
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO):
        link = zipfile.ZipInfo("link")
        link.external_attr = (kind | 0o777) << 16
        assert "neither" in refused(package((link, "/etc/passwd")))


def test_a_bomb_is_refused_before_it_unpacks():
    zeros = b"\0" * (20 * 1024 * 1024)
    bomb = package(("zeros", zeros), compression=zipfile.ZIP_DEFLATED)
    assert "tightly" in refused(bomb)


def test_a_bomb_that_lies_about_its_size_stops_at_the_first_byte(tmp_path):
    honest = package(("zeros", b"\0" * 100_000), compression=zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(honest) as made:
        size = made.getinfo("zeros").file_size
    # Both places that name the size of this file: the local and the central header.
    lying = honest.getvalue().replace(
        size.to_bytes(4, "little"), (10).to_bytes(4, "little")
    )
    path = tmp_path / "x.lbpkg"
    path.write_bytes(lying)
    with pytest.raises(PackageError):
        unpack_package(path, tmp_path / "code")
    assert (tmp_path / "code" / "zeros").stat().st_size <= 10


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["manifest.yaml", "late.txt"])
def test_what_unpacks_without_a_bound_is_refused_unread(
    method, name, tmp_path, monkeypatch
):
    """600 bytes of bzip2 are a gigabyte in memory, whatever size they claim."""
    file = package(manifest=None if name == "manifest.yaml" else MANIFEST)
    with zipfile.ZipFile(file, "a", method) as made:
        made.writestr(name, b"\0" * 60_000)
    path = tmp_path / "x.lbpkg"
    path.write_bytes(file.getvalue())
    with monkeypatch.context() as watched:
        watched.setattr(zipfile.ZipFile, "open", _never)
        assert "packed in a way" in refused(file)
    with pytest.raises(PackageError, match="packed in a way"):
        unpack_package(path, tmp_path / "code")


def _never(*_given):
    pytest.fail("a file of the archive was opened")


def test_bounds_of_the_whole_are_kept(monkeypatch):
    monkeypatch.setattr(archive, "UNPACKED_BYTES", 100)
    assert "200 MB" in refused(package(("a", "x" * 200)))
    monkeypatch.setattr(archive, "MEMBERS", 2)
    assert "5,000" in refused(package(("a", ""), ("b", "")))
    monkeypatch.setattr(archive, "FILE_BYTES", 50)
    assert "50 MB" in refused(package())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused():
    assert "one name" in refused(package(("a", "1"), ("A", "2")))
    assert "one name" in refused(package(("a", "1"), ("a", "2")))


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        "",
        "kind: Other",
        "kind: Plugin",
        "kind: [",
        "{kind: Plugin, metadata: {author: ../x, name: a, version: '1'}}",
        "{kind: Plugin, metadata: {author: a, name: a/b, version: '1'}}",
        "{kind: Plugin, metadata: {author: a, name: a, version: ../1}}",
        "{kind: Plugin, metadata: {author: a, name: .., version: '1'}}",
        "{kind: Plugin, metadata: {author: a, name: a}}",
        "{a: &x [1], b: *x, kind: Plugin}",
        "{kind: Plugin, metadata: {author: a, name: a, version: 0x%s}}" % ("f" * 5000),
        "kind: !!python/object/apply:os.system [id]",
        "#" * 70_000,
    ],
)
def test_a_wrong_manifest_is_refused(manifest):
    refused(package(manifest=manifest))


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://evil.test",
        "-e .",
        "x @ https://evil.test/x.whl",
        "./wheel.whl",
        "/etc/passwd",
        "a \\",
        "x @ file:/etc/passwd",
        "sub/folder",
        "${PIP_INDEX_URL}",
        "a --global-option=x",
        "a ; python_version > '3' --hash=sha256:0",
        "\ufeff--index-url x",
        "a\x0c-r other.txt",
        "a" * 501,
    ],
)
def test_requirements_name_packages_only(line):
    assert "registry" in refused(package(("requirements.txt", f"httpx\n{line}\n")))


def test_ordinary_requirements_are_taken():
    text = (
        "\ufeff# -*- coding: utf-8 -*-\nlangbot-plugin>=0.6\n"
        "httpx[http2]==0.28.1 ; python_version > '3'\n\n"
        "pyjwt (>=2.12, <3)  # for n8n\nzipp~=3.1,!=3.2\nwheel===1.0+local\nrich\n"
    )
    inspect_package(package(("requirements.txt", text)))


@pytest.mark.parametrize("comment", ["# coding: utf-7", "# -*- coding=utf-8-sig -*-"])
def test_requirements_are_read_as_pip_reads_them(comment):
    text = f"{comment}\na===1+AAo---index-url+AD0-http+ADoALwAv-evil\n"
    assert "UTF-8" in refused(package(("requirements.txt", text)))
