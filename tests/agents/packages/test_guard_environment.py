"""What a packaged plugin is told: nothing but what the list allows."""

from pathlib import Path

import pytest

from agents.packages.guard_environment import (
    MARKER,
    VariableRefusedError,
    child_environment,
)

FOLDER = Path("/data/packages/plugins/acme/x/1")
HOST = {
    "PATH": "/secret/bin:/usr/bin",
    "HOME": "/home/ada",
    "DATABASE_URL": "postgresql://u:p@db/x",
    "SECRET_KEY": "s",
    "OPENAI_API_KEY": "sk",
    "LANGBOT_SECRET_KEYS": "k",
    "PYTHONPATH": "/host",
    "LD_PRELOAD": "/x.so",
    "AWS_SESSION_TOKEN": "t",
    "PIP_INDEX_URL": "https://u:p@pypi.test",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "SSL_CERT_FILE": "/ca.pem",
    "https_proxy": "http://proxy:3128",
    "HTTP_PROXY": "http://ada:pw@proxy:3128",
}


def made(given=None, **options):
    return child_environment(
        HOST, given or {}, folder=FOLDER, marker="m:run:1:", **options
    )


def test_only_what_is_allowed_comes_from_the_host():
    assert made() == {
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "SSL_CERT_FILE": "/ca.pem",
        "https_proxy": "http://proxy:3128",
        "PATH": f"{FOLDER}/venv/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": f"{FOLDER}/home",
        "TMPDIR": str(FOLDER / "tmp"),
        "PYTHONUNBUFFERED": "1",
        MARKER: "m:run:1:",
    }


def test_pip_is_told_of_its_registry_while_it_builds_only():
    assert made(is_build=True)["PIP_INDEX_URL"] == HOST["PIP_INDEX_URL"]
    assert "PIP_INDEX_URL" not in made()


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "path",
        "HOME",
        "TMPDIR",
        MARKER,
        "LD_PRELOAD",
        "PYTHONPATH",
        "LANGBOT_X",
        "DJANGO_SETTINGS_MODULE",
        "A=B",
        "",
    ],
)
def test_internal_variables_cannot_be_given(name):
    with pytest.raises(VariableRefusedError):
        made({name: "x"})


def test_other_variables_can_be_given():
    assert made({"PLUGIN_DEBUG_KEY": "lbp_x"})["PLUGIN_DEBUG_KEY"] == "lbp_x"
