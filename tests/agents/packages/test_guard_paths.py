"""Where packages may live, and what the files of an archive may be called."""

from pathlib import Path

import pytest

from agents.packages.guard_paths import (
    PathRefusedError,
    checked_root,
    inside,
    member_path,
)


def test_an_ordinary_data_folder_is_taken(tmp_path):
    folder = tmp_path / "data" / "packages"
    assert checked_root(folder, home=tmp_path / "home") == folder.resolve()


@pytest.mark.parametrize(
    "path",
    ["relative/data", "/srv/../etc/langbot", "/etc/langbot", "/usr/lib/x", "/proc/1"],
)
def test_relative_climbing_and_system_paths_are_refused(path):
    with pytest.raises(PathRefusedError):
        checked_root(Path(path))


@pytest.mark.parametrize("path", ["/", "/home", "/opt", "/var", "/root"])
def test_folders_that_hold_more_than_packages_are_refused(path):
    with pytest.raises(PathRefusedError):
        checked_root(Path(path))


def test_a_home_and_its_settings_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / ".ssh", tmp_path / ".config" / "langbot"):
        with pytest.raises(PathRefusedError):
            checked_root(path, home=tmp_path)
    assert checked_root(tmp_path / "langbot" / "data", home=tmp_path)


def test_a_link_into_the_system_is_refused(tmp_path):
    link = tmp_path / "data"
    link.symlink_to("/etc")
    with pytest.raises(PathRefusedError):
        checked_root(link / "packages")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/./b",
        "a//b",
        "a\\b",
        "C:x",
        "a\x00b",
        "a\nb",
        "x" * 241,
    ],
)
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(PathRefusedError):
        member_path(tmp_path, name)


def test_names_below_the_folder_are_taken(tmp_path):
    assert member_path(tmp_path, "a/b.py") == tmp_path / "a" / "b.py"
    assert member_path(tmp_path, "folder/") == tmp_path / "folder"


def test_a_link_on_the_way_is_refused(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "link").symlink_to(elsewhere)
    with pytest.raises(PathRefusedError):
        member_path(root, "link/file")
    with pytest.raises(PathRefusedError):
        inside(root, elsewhere)
