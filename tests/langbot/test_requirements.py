"""Every pin is used: a direct one by our code, any other by a package that we pin."""

import re
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("requirements.txt", "requirements-dev.txt")
SOURCES = (
    *("agents", "artifacts", "benchmarks", "langbot", "langbot_testing", "platforms"),
    *("runners", "tests"),
)
# Nothing of ours names these, and something works worse without them.
BY_THEMSELVES = {
    "hiredis": "redis-py parses with it where it finds it",
    "celery-types": "types for mypy",
    "django-stubs": "types for mypy",
    "djangorestframework-stubs": "types for mypy",
    "types-channels": "types for mypy",
    "types-psutil": "types for mypy",
    "pytest-django": "`DJANGO_SETTINGS_MODULE` of pyproject.toml",
    "pytest-asyncio": "`asyncio_mode` of pyproject.toml",
    "pytest-timeout": "`timeout` of pyproject.toml",
    "pytest-xdist": "`-n` of the Makefile",
    "djlint": "the Makefile",
    "import-linter": "the Makefile",
    "mypy": "the Makefile",
    "ruff": "the Makefile",
}
# Twisted's extra `tls`, which daphne asks for.
EXTRAS = {"twisted": ["tls"]}
_PIN = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<extras>[^\]]*)\])?==")


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins():
    """Return (name, extras, whether it is one of our own choice)."""
    for name in FILES:
        direct, _, rest = (ROOT / name).read_text().partition("# What the above")
        for text, is_direct in ((direct, True), (rest, False)):
            for found in _PIN.finditer(text):
                extras = (found["extras"] or "").split(",")
                yield canonical(found["name"]), extras, is_direct


PINS = list(pins())


def wanted():
    """Return the names of all that the pinned packages require."""
    for name, extras, _is_direct in PINS:
        for line in distribution(name).requires or ():
            extra = re.search(r"extra == ['\"]([^'\"]+)", line)
            if extra is None or extra[1] in [*extras, *EXTRAS.get(name, [])]:
                yield canonical(re.split(r"[^\w.-]", line, maxsplit=1)[0])


def named():
    """Return every word of our sources, imports and settings among them."""
    words: set[str] = set()
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            if path != Path(__file__):
                words.update(re.findall(r"\w+", path.read_text()))
    return words


def test_a_direct_pin_is_used():
    words, modules = named(), packages_distributions()
    used = {
        canonical(package)
        for module, packages in modules.items()
        for package in packages
        if module in words
    }
    direct = {name for name, _extras, is_direct in PINS if is_direct}
    assert sorted(direct - used - BY_THEMSELVES.keys()) == []


def test_any_other_pin_is_needed_by_one_of_ours():
    needed = set(wanted())
    locked = {name for name, _extras, is_direct in PINS if not is_direct}
    assert sorted(locked - needed) == []


@pytest.mark.parametrize("name", sorted(BY_THEMSELVES))
def test_an_exception_is_still_a_pin(name):
    assert name in {pin for pin, _extras, is_direct in PINS if is_direct}
