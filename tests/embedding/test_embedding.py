"""A fresh project of another team embeds the host, as docs/embedding.md says."""

import json
import re
from pathlib import Path

import pytest

from tests.support.embedded import PROJECT, ROOT, embedded_shop

# Installing into a new environment takes longer than a test otherwise may.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CONFIGURATION = [
    "langbot_core.workspace",
    "langbot_agents.modelprovider",
    "langbot_agents.model",
    "langbot_agents.agent",
    "langbot_agents.agentversion",
    "langbot_agents.agentbinding",
    "langbot_platforms.bot",
]
BLOCK = re.compile(r"```python\n# (?P<path>\S+\.py)\n(?P<code>.*?)```", re.DOTALL)
_SET_UP = """
from django.core.management import call_command
from shop.models import Customer

call_command("migrate", verbosity=0)
call_command("loaddata", "support", verbosity=0)
Customer.objects.create_superuser("ada@example.org", "a password")
call_command("createplugintoken", "ours", plugin=["shop/greeter"])
"""
_ASK = """
from shop.models import Customer
from shop.support import answer

print(answer(Customer.objects.get(), "Ada"))
"""
_DUMP = """
from django.core.management import call_command

natural = {"use_natural_foreign_keys": True, "use_natural_primary_keys": True}
call_command("dumpdata", *LABELS, **natural)
"""
_LOAD = """
from django.core.management import call_command

call_command("migrate", verbosity=0)
call_command("loaddata", "rows.json", verbosity=0)
"""


def test_the_host_works_in_another_project(python, tmp_path):
    with embedded_shop(tmp_path / "shop", python) as shop:
        shop.start(token=shop.shell(_SET_UP))
        assert shop.shell(_ASK) == "Good day, Ada!"
        configuration_moves(shop)
        processes = dict(shop.processes.running)
        assert not shop.processes.dead(), shop.processes.logs()
        shop.processes.end_all()
        codes = {name: one.returncode for name, one in processes.items()}
        assert codes == {"web": 0, "worker": 0, "plugins": 0}, shop.processes.logs()
        assert "Traceback" not in str(shop.processes.logs())


def configuration_moves(shop):
    """Dump, load into an empty database, dump: the same rows."""
    dump = f"LABELS = {CONFIGURATION}\n{_DUMP}"
    before = json.loads(shop.shell(dump))
    (shop.folder / "rows.json").write_text(json.dumps(before))
    home = shop.processes.environment["SHOP_DATABASE"]
    shop.processes.environment["SHOP_DATABASE"] = f"sqlite://{shop.folder}/two.sqlite3"
    after = json.loads(shop.shell(_LOAD + dump))
    shop.processes.environment["SHOP_DATABASE"] = home
    assert len(before) == 4
    assert readable(after) == readable(before)


def readable(rows):
    """Leave out secrets: they are encrypted anew each time."""
    return [row["fields"] | {"secrets": None} for row in rows]


def test_the_teams_own_tests_pass(python, tmp_path):
    """Admin, REST and the fixtures for teams, in the project's environment."""
    with embedded_shop(tmp_path / "shop", python) as shop:
        nowhere = {"SHOP_REDIS": "redis://127.0.0.1:1", "SHOP_BROKER": "memory://"}
        shop.processes.environment |= nowhere
        answer = shop.processes.run("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert re.search(r"\d+ passed", answer), answer


@pytest.mark.parametrize("document", ["embedding.md", "testing.md"])
def test_the_documents_show_this_project(document):
    text = (ROOT / "docs" / document).read_text()
    shown = [(found["path"], found["code"]) for found in BLOCK.finditer(text)]
    assert shown
    for path, code in shown:
        assert code.strip() in Path(PROJECT, path).read_text(), path
