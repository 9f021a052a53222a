"""The Chinese catalogue: complete, current, compiled, and what people see."""

import ast
import gettext
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import unfold
from django.conf import settings
from django.contrib.auth import get_user_model
from django.urls import reverse

from langbot.theme_words import WORDS
from platforms.models import Bot

CATALOGUE = Path("langbot/locale/zh_Hans/LC_MESSAGES/django.po")
SOURCES = ["agents", "artifacts", "langbot", "platforms", "runners", "templates"]
QUOTED = r'((?:\s*"(?:[^"\\]|\\.)*")+)'
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[a-z]|\{\w*\}|</?\w+")
TOOLS = ["make", "xgettext", "msgfmt"]


def text_after(keyword, entry):
    """Return the text of one keyword of a catalogue's entry; "" without it."""
    found = re.search(rf"^{keyword}{QUOTED}", entry, re.MULTILINE)
    parts = re.findall(r'"(?:[^"\\]|\\.)*"', found[1]) if found else []
    return "".join(map(ast.literal_eval, parts))


def read_catalogue(path):
    """Return {(context, id): (plural id, translation)} of a .po file."""
    entries = re.split(r"\n\s*\n", path.read_text(encoding="utf-8"))
    return {
        (text_after("msgctxt", entry), text_after("msgid", entry)): (
            text_after("msgid_plural", entry),
            text_after(r"msgstr(?:\[0\])?", entry),
        )
        for entry in entries[1:]
    }


@pytest.fixture(scope="module")
def committed():
    return read_catalogue(settings.BASE_DIR / CATALOGUE)


def test_every_text_is_translated(committed):
    assert len(committed) > 500
    assert [key for key, (_, text) in committed.items() if not text.strip()] == []
    assert "fuzzy" not in (settings.BASE_DIR / CATALOGUE).read_text(encoding="utf-8")


def test_every_translation_is_chinese(committed):
    assert {text for _, text in committed.values() if text.isascii()} == {"ID"}


def test_translations_keep_placeholders_and_tags(committed):
    for (_, text), (plural, translation) in committed.items():
        expected = sorted(PLACEHOLDER.findall(plural or text))
        assert sorted(PLACEHOLDER.findall(translation)) == expected, text


def test_compiled_catalogue_is_current(committed):
    path = (settings.BASE_DIR / CATALOGUE).with_suffix(".mo")
    with path.open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for (context, text), (plural, translation) in committed.items():
        if context:
            found = compiled.pgettext(context, text)
        elif plural:
            found = compiled.ngettext(text, plural, 2)
        else:
            found = compiled.gettext(text)
        assert found == translation


def make_messages(folder):
    """Run the target in a copy of the project, with the settings of a start."""
    environment = {**os.environ, "LANGBOT_DATA_DIR": str(folder / "data")}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    # `-o`: nothing is installed, whatever the age of the stamp.
    command = ["make", "-o", f"{sys.prefix}/dev.stamp", f"VENV={sys.prefix}"]
    done = subprocess.run(
        [*command, "messages"],
        check=False,
        cwd=folder,
        env=environment,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason="make and GNU gettext are needed"
)
def test_make_messages_finds_nothing_new(committed, tmp_path):
    for name in SOURCES:
        source = settings.BASE_DIR / name
        shutil.copytree(
            source, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc", "*.mo")
        )
    for name in ["Makefile", "manage.py"]:
        shutil.copy(settings.BASE_DIR / name, tmp_path)
    (tmp_path / "static").mkdir()
    make_messages(tmp_path)
    assert read_catalogue(tmp_path / CATALOGUE) == committed
    assert (tmp_path / CATALOGUE).with_suffix(".mo").exists()


def test_words_of_the_theme_are_still_its_words():
    folder = Path(unfold.__file__).parent
    files = [*folder.rglob("*.html"), *folder.rglob("*.py")]
    theme = "".join(path.read_text(encoding="utf-8") for path in files)
    assert [word for word in WORDS if word[:60] not in theme] == []


def test_admin_speaks_chinese(client, db):
    person = get_user_model().objects.create_superuser("root", password="x")
    client.force_login(person)
    page = client.get(reverse("admin:index"), headers={"accept-language": "zh-CN"})
    body = page.content.decode()
    assert page.headers["Content-Language"] == "zh-hans"
    for text in ["最近 24 小时的运行", "发生了什么？", "智能体宿主", "搜索应用和模型"]:
        assert text in body
    assert "What happened?" not in body


def texts_in(value):
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts_in(item)]
    return [value]


def test_chat_speaks_chinese(client, workspace):
    Bot.objects.create(workspace=workspace, slug="web", name="web", adapter="web")
    address = reverse("langbot:chat-open", args=["web"])
    body = client.get(address, headers={"accept-language": "zh-CN"}).content.decode()
    assert '<html lang="zh-hans">' in body
    assert "按 Enter 发送" in body
    (page,) = re.findall(r"application/json\">(.*?)</script>", body)
    strings = json.loads(page)["strings"]
    assert strings["working"] == "正在回答…"
    assert [text for text in texts_in(strings) if text.isascii()] == []
