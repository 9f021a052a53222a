"""Packages of the real SDK: installed in the admin, supervised, upgraded, removed."""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from tests.support import host_packages
from tests.support.host import RunningHost
from tests.support.sdk_environment import (
    NEWEST_SDK,
    edited_yaml,
    generate_runner_plugin,
    sdk_environment,
)

# The host makes an environment of its own for each package that is built.
pytestmark = [pytest.mark.sdk, pytest.mark.slow, pytest.mark.timeout(900)]
PLUGIN = "acme/packed"
RUNNER = f"plugin:{PLUGIN}/default"
BUILD_SECONDS = 600.0
_CSRF = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


class Admin:
    """A person in the admin of a running host, by its pages only."""

    def __init__(self, host: RunningHost) -> None:
        self.client = httpx2.Client(
            base_url=host.url, follow_redirects=True, timeout=30
        )
        names = ("username", "password")
        self.post("/admin/login/", {name: host.secrets[name] for name in names})

    def page(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return str(answer.text)

    def post(self, path: str, data: dict[str, Any], form: str = "", **more: Any) -> str:
        found = _CSRF.search(self.page(form or path))
        assert found is not None, path
        token = {"csrfmiddlewaretoken": found[1]}
        headers = {"Referer": str(self.client.base_url)}
        answer = self.client.post(path, data=data | token, headers=headers, **more)
        assert answer.status_code == 200, (path, answer.status_code)
        return str(answer.text)

    def upload(self, package: Path, path: str = "/admin/langbot_agents/plugin/add/"):
        with package.open("rb") as file:
            return self.post(path, {"workspace": ""}, files={"package": file})


class Packages:
    """The package under test, and what the host's rows say of it."""

    def __init__(self, host: RunningHost, folder: Path) -> None:
        self.host, self.folder = host, folder
        self.lbp = sdk_environment(NEWEST_SDK).lbp

    def build(self, version: str, requirements: str = "langbot-plugin\n") -> Path:
        """Have `lbp build` make the package of a version."""
        with edited_yaml(self.folder / "manifest.yaml") as manifest:
            manifest["metadata"]["version"] = version
        (self.folder / "requirements.txt").write_text(requirements)
        command = [str(self.lbp), "build"]
        subprocess.run(command, check=True, cwd=self.folder, capture_output=True)
        return self.folder / "dist" / f"acme-packed-{version}.lbpkg"

    def state(self) -> dict[str, Any]:
        return dict(self.host.inside(host_packages.package_state, plugin=PLUGIN))

    def wait_version(self, version: str, status: str) -> dict[str, Any]:
        """Return the state once a version has a status."""

        def reached() -> dict[str, Any] | None:
            state = self.state()
            return state if state["versions"].get(version) == status else None

        what = f"version {version} is {status}"
        return self.host.wait_for(reached, what, BUILD_SECONDS)

    def processes(self) -> list[psutil.Process]:
        """Return the host's plugin processes that run, by their command lines."""
        folder = f"{self.host.processes.folder}/data/packages/plugins/acme/packed/"
        found = []
        for one in psutil.process_iter(["cmdline"]):
            words = one.info["cmdline"] or []
            if words[-1:] == ["run"] and any(folder in word for word in words):
                found.append(one)
        return found

    def start_supervisor(self) -> None:
        url = self.host.socket_url
        self.host.processes.start("packages", "manage.py", "runpackages", "--url", url)


@pytest.fixture(scope="module")
def own_host() -> Iterator[RunningHost]:
    with RunningHost() as host:
        yield host


@pytest.fixture
def packages(own_host, tmp_path) -> Packages:
    environment = sdk_environment(NEWEST_SDK)
    folder = generate_runner_plugin(environment, tmp_path, "acme", "packed")
    return Packages(own_host, folder)


def test_a_package_is_installed_upgraded_rolled_back_and_removed(own_host, packages):
    host, admin = own_host, Admin(own_host)
    packages.start_supervisor()
    said = admin.upload(packages.build("1.0.0"))
    assert "is being built" in said
    state = packages.wait_version("1.0.0", "ready")
    host.wait_runner(RUNNER)
    host.make_agent("packed", RUNNER)
    assert host.reply(host.ask("hello", "packed")["id"]) == "Received: hello"

    page = f"/admin/langbot_agents/plugin/{state['pk']}/"

    def has_icon() -> bool:
        return f"{page}icon/" in admin.page(f"{page}change/")

    host.wait_for(has_icon, "its icon is shown")
    icon = admin.client.get(f"{page}icon/")
    assert icon.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in icon.headers["content-security-policy"]
    assert state["secret"] not in admin.page(f"{page}change/")

    broken = packages.build("2.0.0", "langbot-plugin\nno-such-package-of-ours==9.9\n")
    admin.upload(broken, f"{page}upgrade/")
    state = packages.wait_version("2.0.0", "failed")
    assert state["current"] == "1.0.0"
    shown = admin.page(f"{page}change/")
    assert "no-such-package-of-ours" in shown
    assert "exit code" in shown
    assert host.reply(host.ask("still here", "packed")["id"]) == "Received: still here"

    (process,) = packages.processes()
    host.kill("packages")
    psutil.wait_procs([process], 10)
    assert not packages.processes(), "its processes die with the supervisor"
    packages.start_supervisor()
    host.wait_for(packages.processes, "the process runs again")
    host.wait_runner(RUNNER)
    assert len(packages.processes()) == 1

    folders = host.inside(host_packages.folders_of, plugin=PLUGIN)
    assert len(folders) == 1, "what was not built has left nothing"
    admin.post(f"{page}act/remove/", {}, form=f"{page}change/")
    host.wait_for(lambda: not packages.state()["has_process"], "it is removed")
    assert not packages.processes()
    assert host.inside(host_packages.folders_of, plugin=PLUGIN) == []
    host.wait_runner(RUNNER, online=False)
    run = host.ask("anybody?", "packed")
    assert (run["status"], run["error_code"]) == ("failed", "runner.not_found")
    acts = host.inside(host_packages.acts_on, plugin=PLUGIN)
    assert acts == [
        "package uploaded",
        "package built",
        "package uploaded",
        "package not built",
        "package removed",
        "archived",
    ]
    host.processes.end("packages", number=signal.SIGTERM)
    shutil.rmtree(packages.folder)
