"""The supervisor of packages as a process, with real builds by pip."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from django.core.management import CommandError, call_command

from agents.choices import BuildStatus
from agents.models import PackageProcess, PackageVersion, Plugin
from agents.packages.places import folder_of, packages_root, plugin_folder, upload_of
from agents.packages.services import (
    install_package,
    remove_package,
    renew_token,
    restart_process,
    use_version,
    want_process,
)
from langbot.core.models import AuditLog
from tests.support.small_sdk import package_file, write_small_sdk

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
URL = "ws://127.0.0.1:9/ws/plugin/"


class Supervised:
    """`manage.py runpackages` on this test's database."""

    def __init__(self, environment, log):
        self.environment, self.log = environment, log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options):
        command = [sys.executable, "manage.py", "runpackages", "--url", URL, *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        return self.process

    def wait(self, check, what, seconds=120):
        deadline = time.monotonic() + seconds
        while not (answer := check()):
            assert time.monotonic() < deadline, f"{what}\n{self.log.read_text()}"
            assert self.process is None or self.process.poll() is None, (
                self.log.read_text()
            )
            time.sleep(0.05)
        return answer

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


@pytest.fixture
def supervised(process_environment, tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    write_small_sdk(wheels)
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": ""}
    secret = {"OPENAI_API_KEY": "sk-of-the-host-1234567890"}
    one = Supervised({**process_environment, **pip, **secret}, tmp_path / "log")
    yield one
    one.end()


def running():
    """Return the plugin processes that run."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        words = one.info["cmdline"] or []
        if words[-1:] == ["run"] and any("/plugins/acme/small/" in w for w in words):
            found.append(one)
    return found


def state_of(version):
    version.refresh_from_db()
    return version.status


def log_has(text):
    return text in PackageProcess.objects.get().log_tail


def test_a_package_is_built_kept_running_upgraded_and_removed(supervised, workspace):
    """One story, so that pip builds no more than it must."""
    first = install_package(package_file(main__py="x=1"), workspace, author="ada")
    supervised.start()
    supervised.wait(lambda: state_of(first) == BuildStatus.READY, "it is built")
    (process,) = supervised.wait(running, "it runs")
    it_is_told_what_is_allowed(supervised, process, folder_of(first))
    a_version_that_cannot_be_built_changes_nothing(supervised, workspace, process)
    third = install_package(package_file("3.0.0"), workspace, author="ada")
    supervised.wait(lambda: state_of(third) == BuildStatus.READY, "it is built")
    supervised.wait(lambda: _runs(third), "the new version runs")
    assert not process.is_running()
    assert use_version(first, author="ada")
    supervised.wait(lambda: _runs(first), "the former version runs")
    it_does_what_people_say(supervised)
    it_runs_once_after_its_supervisor_was_killed(supervised)
    it_is_removed_without_a_trace(supervised, first)


def it_is_told_what_is_allowed(supervised, process, folder):
    supervised.wait(lambda: log_has(f"in code at {URL}"), "its log is kept")
    row = PackageProcess.objects.get()
    assert "my key is [redacted]" in row.log_tail
    told = row.log_tail.partition("told:")[2].partition("\n")[0].split()
    assert {"PLUGIN_DEBUG_KEY", "HOME", "TMPDIR"} <= set(told)
    assert not {
        name for name in told if name.startswith(("PIP_", "OPENAI", "DATABASE"))
    }
    assert "PYTHONPATH" not in told
    assert Path(process.environ()["HOME"]) == folder / "home"


def a_version_that_cannot_be_built_changes_nothing(supervised, workspace, process):
    broken = package_file("2.0.0", requirements__txt="no-such-package==1.0\n")
    second = install_package(broken, workspace, author="ada")
    supervised.wait(lambda: state_of(second) == BuildStatus.FAILED, "it fails")
    assert "no-such-package" in second.build_log
    assert "exit code 1" in second.error
    assert not folder_of(second).exists()
    assert running() == [process]


def it_does_what_people_say(supervised):
    (process,) = running()
    key = process.environ()["PLUGIN_DEBUG_KEY"]
    assert renew_token(Plugin.objects.get(), author="ada")
    supervised.wait(lambda: running() and running() != [process], "it is restarted")
    supervised.wait(lambda: _told(running()) not in {"", key}, "it has another token")
    assert want_process(Plugin.objects.get(), wanted=False, author="ada")
    supervised.wait(lambda: not running(), "it is stopped")
    assert not restart_process(Plugin.objects.get(), author="ada")
    assert want_process(Plugin.objects.get(), wanted=True, author="ada")
    supervised.wait(running, "it is started")


def it_runs_once_after_its_supervisor_was_killed(supervised):
    processes, supervisor = running(), supervised.process
    supervisor.kill()
    supervisor.wait()
    psutil.wait_procs(processes, 10)
    assert not running()
    supervised.start("--while-needed")
    supervised.wait(running, "it runs again")
    assert len(running()) == 1


def it_is_removed_without_a_trace(supervised, first):
    assert remove_package(Plugin.objects.get(), author="ada")
    supervised.process.wait(60)
    assert supervised.process.returncode == 0, "nothing is left to run"
    assert not running()
    assert not PackageProcess.objects.exists()
    plugin = Plugin.objects.get()
    assert plugin.archived_at is not None
    assert not plugin_folder(plugin.name).exists()
    assert not upload_of(first).exists()
    assert not (packages_root() / "needed").exists()
    assert state_of(first) == BuildStatus.REMOVED
    acts = set(AuditLog.objects.values_list("action", flat=True))
    assert acts >= {"package uploaded", "package removed", "package token rotated"}


def _runs(version):
    folder = str(folder_of(version))
    # As it was seen: one that ends meanwhile has no command line any more.
    return [one for one in running() if folder in " ".join(one.info["cmdline"])]


def _told(processes):
    try:
        return processes[0].environ()["PLUGIN_DEBUG_KEY"] if processes else ""
    except (psutil.NoSuchProcess, KeyError):
        return ""


def test_a_crashing_package_is_started_again_and_again(supervised, workspace):
    install_package(package_file(crash="yes"), workspace, author="ada")
    supervised.start()

    def has_failed_twice():
        row = PackageProcess.objects.get()
        return row.failures >= 2 and row

    row = supervised.wait(has_failed_twice, "it is started again")
    assert row.reason == "ended with exit code 3"
    # Only one runs the packages of a data folder.
    with pytest.raises(CommandError, match="another process"):
        call_command("runpackages", url=URL)


def test_builds_of_a_killed_supervisor_are_begun_again(supervised, workspace):
    version = install_package(package_file(), workspace, author="ada")
    PackageVersion.objects.update(status=BuildStatus.BUILDING)
    left = folder_of(version) / "code" / "half-written"
    left.parent.mkdir(parents=True)
    left.touch()
    supervised.start()
    supervised.wait(lambda: state_of(version) == BuildStatus.READY, "it is built")
    assert not left.exists()
    assert PackageVersion.objects.count() == 1
