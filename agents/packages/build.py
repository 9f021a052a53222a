"""Builds one package's virtual environment; run as a process of its own.

`python -I build.py FOLDER`: standard library only. What it writes is the log of the
build. It ends with pip's exit code.
"""

import subprocess
import sys
from pathlib import Path

# The newest SDK that the host was tested with (docs/plugins.md).
SDK = "langbot-plugin>=0.6.0b1,<=0.7.18"
_PIP = "-m pip install --no-input --disable-pip-version-check --progress-bar off"


def main(folder: Path) -> int:
    """Make `venv` in `folder`, install the SDK and what the package requires."""
    venv, constraints = folder / "venv", folder / "constraints.txt"
    constraints.write_text(f"{SDK}\n", encoding="utf-8")
    if code := _run([sys.executable, "-m", "venv", str(venv)]):
        return code
    command = [str(venv / "bin" / "python"), *_PIP.split()]
    command += ["--constraint", str(constraints), "langbot-plugin"]
    requirements = folder / "code" / "requirements.txt"
    if requirements.exists():
        command += ["--requirement", str(requirements)]
    return _run(command)


def _run(command: list[str]) -> int:
    sys.stdout.write(f"$ {' '.join(command)}\n")
    sys.stdout.flush()
    return subprocess.run(command, check=False).returncode  # noqa: S603 - our own


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
