"""REST on a running host of its own: the documented calls, then schemathesis."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.fuzzing import fuzz
from tests.support.host import RunningHost

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "rest.md"


@pytest.fixture(scope="module")
def own_host():
    """A host that the last test here leaves in disorder."""
    with RunningHost() as host:
        yield host


def test_the_five_documented_calls(own_host, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    section = DOCUMENT.read_text().split("## Five calls")[1].split("\n## ")[0]
    (script,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    (tmp_path / "data").mkdir()
    secrets = json.dumps(own_host.secrets)
    (tmp_path / "data" / "first-run.json").write_text(secrets)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "PORT": str(own_host.port)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "event: run.completed" in done.stdout
    run = json.loads(done.stdout.strip().rpartition("\n")[2])
    assert (run["status"], run["agent_slug"]) == ("completed", "parrot")
    assert "hello" in own_host.reply(run["id"])


def test_the_page_for_people_works(own_host):
    page = own_host.client.get("/api/v1/docs/")
    assert page.status_code == 200
    scripts = re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', page.text)
    assert scripts
    for address in scripts:
        assert own_host.client.get(address).status_code == 200, address
    described = own_host.client.get("/api/v1/schema/?format=json").json()
    assert described["openapi"].startswith("3.1")


def test_schemathesis_finds_nothing(own_host):
    """Two cases an operation, all checks; `make fuzz` takes the long way."""
    code, report = fuzz(
        own_host.url,
        own_host.secrets["api_token"],
        *("--phases", "fuzzing", "--max-examples", "2", "--seed", "1"),
    )
    assert code == 0, report
    assert "Tested: " in report
    own_host.assert_no_tracebacks()
