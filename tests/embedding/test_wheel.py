"""What is in the distribution, and what it needs."""

import re
import tarfile
import zipfile

import pytest

from tests.support.embedded import APPS, ROOT, metadata


@pytest.fixture(scope="module")
def names(distribution):
    with zipfile.ZipFile(distribution.wheel) as archive:
        return set(archive.namelist())


def place(source):
    """Where a file of the repository is in the wheel."""
    if source.startswith(("static/", "templates/")):
        return f"langbot/core/{source}"
    return source.replace("langbot/locale/", "langbot/core/locale/", 1)


@pytest.mark.timeout(300)
def test_the_wheel_has_all_of_the_apps_and_nothing_else(names, distribution):
    assert "langbot/locale/zh_Hans/LC_MESSAGES/django.mo" in distribution.sources
    assert {place(source) for source in distribution.sources} <= names
    foreign = {name for name in names if not name.startswith(APPS)}
    assert all(".dist-info/" in name for name in foreign), foreign


@pytest.mark.timeout(300)
def test_the_sdist_has_what_the_wheel_is_built_from(distribution):
    with tarfile.open(distribution.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert distribution.sources | {"pyproject.toml", "README.md"} <= names


def direct_picks():
    lines = (ROOT / "requirements.txt").read_text().partition("\n\n")[0].splitlines()
    pins = [line.split("==") for line in lines if "==" in line]
    return {name_of(pin): version for pin, version in pins}


def name_of(requirement):
    return re.split(r"[\[<>=]", requirement)[0]


def test_dependencies_are_the_direct_picks():
    """A new pick belongs into pyproject.toml: what apps import, or an extra."""
    lists = metadata()
    lists.pop("testing")
    wanted = {one for group in lists.values() for one in group}
    bounds = {name_of(one): one.partition(">=")[2] for one in wanted}
    bounds.pop("langbot-django")  # an extra that names others
    picks = direct_picks()
    assert bounds.keys() == picks.keys()
    for name, bound in bounds.items():
        lowest = bound.partition(",")[0].split(".")
        assert picks[name].split(".")[: len(lowest)] == lowest, name


def test_the_version_is_that_of_the_code(distribution):
    from langbot import __version__

    assert distribution.wheel.name.startswith(f"langbot_django-{__version__}-")
