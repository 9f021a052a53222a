"""Packages of npm for tests, installed once into the ignored folder `.test-env`."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

_FOLDER = Path(__file__).resolve().parents[2] / ".test-env"
_INSTALL_SECONDS = 240


def npm_package(name: str, version: str) -> Path:
    """Return the package's folder; skips the test where it cannot be had."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node.js and npm are not installed")
    folder = _FOLDER / f"npm-{name}"
    package = folder / "node_modules" / name
    if _version(package) != version:
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--prefix", str(folder), "--no-save", "--no-audit"]
        installed = subprocess.run(
            [*command, f"{name}@{version}"],
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
        if installed.returncode:
            pytest.skip(f"npm could not install {name}: {installed.stderr[-300:]}")
    return package


def _version(package: Path) -> str:
    manifest = package / "package.json"
    if not manifest.exists():
        return ""
    return str(json.loads(manifest.read_text())["version"])
