"""Other packages called `agents` or `langbot`, beside ours or between our files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from langbot import checks

ROOT = Path(__file__).resolve().parents[2]


def distribution(folder, name, package):
    """What pip leaves of a distribution that brings `package`."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
    (info / "top_level.txt").write_text(f"{package}\n")
    (folder / package).mkdir(exist_ok=True)
    (folder / package / "__init__.py").touch()


def test_the_distribution_is_named_and_ours_is_not(monkeypatch, tmp_path):
    distribution(tmp_path, "other-agents", "agents")
    distribution(tmp_path, checks.OURS, "agents")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    [warning] = checks.check_rival_packages()
    assert warning.msg.endswith("is installed: other-agents.")


def test_a_package_that_hides_our_models_is_named_at_the_start(tmp_path):
    """As openai-agents in the same site-packages: its files lie between ours."""
    shutil.copytree(ROOT / "agents", tmp_path / "agents")
    (tmp_path / "agents" / "__init__.py").write_text("class Agent: pass\n")
    (tmp_path / "agents" / "models").mkdir()
    (tmp_path / "agents" / "models" / "__init__.py").touch()
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "DJANGO_SETTINGS_MODULE": "langbot.settings",
        "LANGBOT_DATA_DIR": str(tmp_path / "data"),
    }
    answer = subprocess.run(
        [sys.executable, "-m", "django", "check"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert answer.returncode != 0
    last = answer.stderr.strip().splitlines()[-1]
    assert "ImproperlyConfigured" in last
    assert "openai-agents" in last
