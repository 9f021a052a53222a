"""A project of another team in a temporary folder, with the wheel in its own venv.

What the wheel needs lies in `.test-env/embedding/`, made on first use, which takes
about 40 seconds. Each test session has a venv of its own with the wheel and a path to
those, so several may run at once.
"""

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.fernet import Fernet

from langbot.celery import broker_url
from tests.support.own_services import own_database, own_redis
from tests.support.processes import ProcessGroup

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "tests" / "embedding" / "project"
APPS = ("agents", "artifacts", "langbot", "langbot_testing", "platforms", "runners")
SOURCES = (*APPS, "static", "templates")
EXTRAS = "postgres,server,testing"  # and not the theme
_FOLDER = ROOT / ".test-env" / "embedding"
_PREFIX = "langbot_shop:"
_OURS = ("DJANGO_", "LANGBOT_", "DATABASE_URL", "REDIS_URL", "PYTHONPATH", "PYTEST_")
_SECONDS = 900
_APPLICATION = "shop.asgi:application"


class CommandFailedError(RuntimeError):
    """The command's last words."""


class IndexUnreachableError(RuntimeError):
    """Say that packages cannot be installed here."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """What was built, and from which files of the repository."""

    wheel: Path
    sdist: Path
    sources: set[str]


class Packages:
    """The dependencies of the wheel, and the tool that builds it."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "bin" / "python"
        self._folder = folder
        self._stamp = folder / "complete"

    def prepare(self) -> None:
        """Make the environment unless it is there; raises IndexUnreachableError."""
        if self._stamp.exists() and self._stamp.read_text() == _fingerprint():
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.parent.mkdir(exist_ok=True)
        run([sys.executable, "-m", "venv", str(self._folder)])
        try:
            self.pip("hatchling")
        except CommandFailedError as error:
            message = f"no package index can be reached: {str(error).splitlines()[-1]}"
            raise IndexUnreachableError(message) from None
        pins = self._folder / "pins.txt"
        pins.write_text(_pins())
        self.pip("-c", str(pins), "hatchling", *_wanted())
        self._stamp.write_text(_fingerprint())

    def build(self, target: Path) -> "Distribution":
        """Build the repository into a folder."""
        command = "-m hatchling build -t wheel -t sdist --directory"
        sources = _sources()  # before the build: people go on working
        run([str(self.python), *command.split(), str(target)])
        (wheel,), (sdist,) = target.glob("*.whl"), target.glob("*.tar.gz")
        return Distribution(wheel, sdist, sources)

    def install(self, wheel: Path, folder: Path) -> Path:
        """Make a venv with the wheel that finds the others here; returns its Python."""
        run([str(self.python), "-m", "venv", "--without-pip", str(folder)])
        (place,) = folder.glob("lib/python*/site-packages")
        (others,) = self._folder.glob("lib/python*/site-packages")
        (place / "others.pth").write_text(f"{others}\n")
        python = folder / "bin" / "python"
        self.pip("--no-deps", str(wheel), python=python)
        run([str(python), "-m", "pip", "check"])
        return python

    def pip(self, *arguments: str, python: Path | None = None) -> None:
        """Install what the arguments say, here or for another Python."""
        pip = [str(self.python), "-m", "pip", "--python", str(python or self.python)]
        run([*pip, "install", "--quiet", "--disable-pip-version-check", *arguments])


def run(command: list[str]) -> str:
    """Run a command of the repository; fails with the end of its output."""
    done = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if done.returncode:
        raise CommandFailedError("\n".join(done.stderr.splitlines()[-15:]))
    return done.stdout


def _sources() -> set[str]:
    paths = (path for folder in SOURCES for path in (ROOT / folder).rglob("*"))
    files = (path for path in paths if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(ROOT)) for path in files}


def metadata() -> dict[str, list[str]]:
    """Return the distribution's dependencies by extra; those of all are under ""."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def _wanted() -> list[str]:
    lists = metadata()
    return [name for extra in ["", *EXTRAS.split(",")] for name in lists[extra]]


def _pins() -> str:
    """Return the versions that the other tests run on, as pip's constraints."""
    texts = (ROOT / name for name in ("requirements.txt", "requirements-dev.txt"))
    lines = [line for text in texts for line in text.read_text().splitlines()]
    pins = [line for line in lines if "==" in line and not line.startswith("#")]
    bare = [name.partition("[")[0] + "==" + v for name, _, v in map(_split, pins)]
    return "\n".join(bare) + "\n"


def _split(pin: str) -> tuple[str, str, str]:
    return pin.partition("==")


def _fingerprint() -> str:
    # The folder is part of it: a venv that was moved has dead absolute paths.
    parts = (_pins(), *_wanted(), sys.version, str(_FOLDER))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def packages() -> Packages:
    """Return the dependencies, installed on first use; one process does, others wait.

    Raises IndexUnreachableError.
    """
    _FOLDER.parent.mkdir(exist_ok=True)
    with _FOLDER.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = Packages(_FOLDER)
        found.prepare()
        return found


class Shop:
    """The project, a copy of `tests/embedding/project`, on data of its own."""

    def __init__(self, folder: Path, python: Path, services: dict[str, str]) -> None:
        self.folder = folder
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
        variables = {
            "SHOP_KEY": Fernet.generate_key().decode() * 2,
            "SHOP_FERNET_KEY": Fernet.generate_key().decode(),
            "SHOP_URL": self.url,
            **services,
        }
        self.processes = ProcessGroup(
            folder, kept | variables, python=str(python), root=folder
        )

    def shell(self, code: str) -> str:
        """Run Python with the project's settings and return what it printed."""
        return self.processes.run("manage.py", "shell", "-v0", "-c", code).strip()

    def start(self, token: str) -> None:
        """Start what the documentation says: web, worker and plugins."""
        settings = {"DJANGO_SETTINGS_MODULE": "shop.settings"}
        plugins = {
            "LANGBOT_RUNNERS": "shop.greeter.Greeter",
            "DEBUG_RUNTIME_WS_URL": f"ws://127.0.0.1:{self.port}/ai/ws/plugin/",
            "PLUGIN_DEBUG_KEY": token,
        }
        web = f"-m langbot.server --port {self.port} --application {_APPLICATION}"
        self._start("web", web, settings)
        self._start("worker", "-m celery -A shop worker -P threads -Q runs,ops", {})
        self._start("plugins", "manage.py runplugins --only greeter", plugins)

    def _start(self, name: str, command: str, variables: dict[str, str]) -> None:
        self.processes.start(name, *command.split(), variables=variables)


@contextmanager
def embedded_shop(folder: Path, python: Path) -> Iterator[Shop]:
    """Yield the project with nothing started; everything of it goes afterwards."""
    shutil.copytree(PROJECT, folder)
    with ExitStack() as stack:
        database = stack.enter_context(own_database(f"langbot_shop_{os.getpid()}"))
        redis = stack.enter_context(own_redis(_PREFIX))
        services = {
            "SHOP_DATABASE": database or f"sqlite://{folder}/shop.sqlite3",
            "SHOP_REDIS": redis,
            "SHOP_BROKER": broker_url(redis),
            "SHOP_PREFIX": _PREFIX,
        }
        shop = Shop(folder, python, services)
        stack.callback(shop.processes.end_all)
        yield shop


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
