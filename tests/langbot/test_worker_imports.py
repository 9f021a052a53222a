"""A worker loads what runs need, and pages only for the address of one."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What a worker is ready with, then what the link of a mail brings.
SCRIPT = """
import os, sys
from langbot import worker
os.environ["CELERY_SKIP_CHECKS"] = "true"
os.environ["DJANGO_SETTINGS_MODULE"] = "langbot.worker_settings"
from langbot.celery import app
app.loader.import_default_modules()
print(*sorted(sys.modules))
from langbot.core.mailing import _own_page
print(_own_page())
"""
PAGES = {
    *("langbot.urls", "langbot.core.admin", "agents.admin", "runners.admin"),
    *("runners.api", "rest_framework.serializers", "drf_spectacular.openapi"),
    *("click_repl", "prompt_toolkit", "celery.bin.celery"),
}


def test_a_worker_loads_no_pages_until_it_links_to_one(tmp_path):
    environment = {**os.environ, "LANGBOT_DATA_DIR": str(tmp_path)}
    environment["LANGBOT_PUBLIC_URL"] = "https://host.example"
    command = [sys.executable, "-c", SCRIPT]
    output = subprocess.check_output(command, cwd=ROOT, env=environment, text=True)
    modules, link = output.splitlines()[-2:]
    assert {"runners.tasks", "platforms.tasks"} <= set(modules.split())
    assert not PAGES & set(modules.split())
    path = "/admin/langbot_core/notificationpreference/mine/"
    assert link == f"https://host.example{path}"
