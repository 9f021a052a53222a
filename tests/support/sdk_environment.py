"""Runs plugins on the public `langbot-plugin` package, each version in its own venv.

The environments live in `.test-env/sdk-<version>/` of the repository and are made
on first use, which takes about half a minute each; prepare them ahead with
`python -m tests.support.sdk_environment`.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from tests.support.runner_sources import RunnerSource

NEWEST_SDK = "0.7.18"
OLDER_SDK = "0.6.1"
SDK_VERSIONS = (NEWEST_SDK, OLDER_SDK)
# The host calls are probed on one between them, too.
PROBED_SDK_VERSIONS = (NEWEST_SDK, "0.7.5", OLDER_SDK)
RUNNER_NAME = "default"

_ROOT = Path(__file__).resolve().parents[2] / ".test-env"
_INSTALL_SECONDS = 900
_COMMAND_SECONDS = 60
_STOP_SECONDS = 10


class SdkUnavailableError(RuntimeError):
    """Say that a version of the public SDK could not be installed here."""


@dataclass(frozen=True, slots=True)
class SdkEnvironment:
    """Name the programs of one installed SDK version."""

    version: str
    folder: Path

    @property
    def python(self) -> Path:
        """Return the interpreter that imports this SDK."""
        return self.folder / "bin" / "python"

    @property
    def lbp(self) -> Path:
        """Return the SDK's own command line program."""
        return self.folder / "bin" / "lbp"


def sdk_environment(version: str) -> SdkEnvironment:
    """Return the environment of an SDK version, made on first use.

    Safe to call from several processes at once; one installs, the others wait.
    Raises SdkUnavailableError with the installer's last lines.
    """
    environment = SdkEnvironment(version, _ROOT / f"sdk-{version}")
    _ROOT.mkdir(exist_ok=True)
    with _exclusive(_ROOT / f"sdk-{version}.lock"):
        if not _is_complete(environment):
            _install(environment)
    return environment


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _stamp(environment: SdkEnvironment) -> dict[str, str]:
    # The folder is part of it: a venv that was moved has dead absolute paths.
    return {
        "sdk": environment.version,
        "python": sys.version,
        "folder": str(environment.folder),
    }


def _is_complete(environment: SdkEnvironment) -> bool:
    try:
        found = json.loads((environment.folder / "complete.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(found == _stamp(environment)) and environment.lbp.exists()


def _install(environment: SdkEnvironment) -> None:
    shutil.rmtree(environment.folder, ignore_errors=True)
    requirement = f"langbot-plugin=={environment.version}"
    _installer([sys.executable, "-m", "venv", str(environment.folder)], requirement)
    pip = [str(environment.python), "-m", "pip", "install", "--quiet", requirement]
    _installer(pip, requirement)
    stamp = json.dumps(_stamp(environment))
    (environment.folder / "complete.json").write_text(stamp)


def _installer(command: list[str], requirement: str) -> None:
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise SdkUnavailableError(
            f"{requirement}: not installed within {_INSTALL_SECONDS} s"
        ) from error
    except subprocess.CalledProcessError as error:
        tail = "\n".join((error.stderr or error.stdout).splitlines()[-15:])
        raise SdkUnavailableError(
            f"{requirement} cannot be installed:\n{tail}"
        ) from error


def generate_runner_plugin(
    environment: SdkEnvironment,
    target: Path,
    author: str,
    name: str,
    runners: Sequence[str] = (RUNNER_NAME,),
) -> Path:
    """Generate a plugin with these Runners in `target/name` by `lbp init`, `lbp comp`.

    Both commands ask on standard input; nothing they write is changed.
    """
    target.mkdir(parents=True, exist_ok=True)
    _ask(environment, ["init", name], target, [author, "A generated plugin"])
    folder = target / name
    for runner in runners:
        _ask(environment, ["comp", "Runner"], folder, [runner, "A generated runner"])
    return folder


def _ask(
    environment: SdkEnvironment, arguments: list[str], folder: Path, answers: list[str]
) -> None:
    """Run one interactive command of the SDK and answer its questions in order."""
    done = subprocess.run(
        [str(environment.lbp), *arguments],
        check=False,
        cwd=folder,
        env=_plugin_environment({}),
        input="".join(f"{answer}\n" for answer in answers),
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
    )
    # The command reports a refused answer in its text only, with exit code 0.
    if done.returncode != 0 or "!!" in done.stdout:
        raise RuntimeError(f"lbp {arguments} failed:\n{done.stdout}\n{done.stderr}")


def write_runner_source(
    folder: Path, source: RunnerSource | str, runner: str = RUNNER_NAME
) -> None:
    """Replace the body of a generated runner.

    A RunnerSource also sets the manifest's config schema, permissions and
    capabilities; plain text must define the class that the manifest names.
    """
    component = folder / "components" / "runner" / runner
    if isinstance(source, str):
        component.with_suffix(".py").write_text(source)
        return
    with edited_yaml(component.with_suffix(".yaml")) as manifest:
        spec = manifest["spec"]
        spec["config"] = list(source.config)
        spec["permissions"] |= source.permissions
        spec["capabilities"] |= source.capabilities
        attribute = manifest["execution"]["python"]["attr"]
    code = source.code.replace("class Default(", f"class {attribute}(")
    component.with_suffix(".py").write_text(code)


@contextmanager
def edited_yaml(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the content of a manifest and write back what became of it."""
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    yield content
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))


def _plugin_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a plugin process: nothing of ours leaks into it."""
    ours = ("DJANGO_", "LANGBOT_", "DATABASE_URL", "REDIS_URL", "PYTHONPATH")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return kept | {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"} | dict(extra)


class PluginProcess:
    """Run `lbp run` in a plugin folder, connected to the host at `url`.

    Entering starts it, leaving ends it. The output goes to a file beside the
    plugin folder, one for each process.
    """

    def __init__(self, environment: SdkEnvironment, folder: Path, url: str, token: str):
        self._command = [str(environment.lbp), "run"]
        self._folder = folder
        self._variables = {"DEBUG_RUNTIME_WS_URL": url, "PLUGIN_DEBUG_KEY": token}
        self._process: subprocess.Popen[bytes] | None = None
        # Outside the folder: the SDK watches the folder for changed files.
        self._output = folder.with_name(f"{folder.name}-{time.monotonic_ns()}.log")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.terminate()

    def start(self) -> None:
        """Start the process; a killed one may be started again."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=_plugin_environment(self._variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the process id of the running process."""
        assert self._process is not None, "the plugin process was not started"
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        """End the process with SIGKILL and wait for it."""
        self._signal(signal.SIGKILL)

    def terminate(self) -> None:
        """End the process with SIGTERM, after ten seconds with SIGKILL."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def output(self) -> str:
        """Return what all its processes printed so far."""
        return self._output.read_text(errors="replace")


def main() -> None:
    """Make the environments named on the command line, or all that tests use."""
    for version in sys.argv[1:] or PROBED_SDK_VERSIONS:
        sys.stdout.write(f"{sdk_environment(version).folder}\n")


if __name__ == "__main__":
    main()
