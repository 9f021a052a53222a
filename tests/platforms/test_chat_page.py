"""The page of the web chat, without its socket."""

import re

import pytest

from platforms.chat import visits
from tests.factories import BotFactory

pytestmark = pytest.mark.django_db


@pytest.mark.urls("platforms.urls")
def test_page_is_served_without_inline_scripts(client, bot):
    bot.config = {"greeting": "<b>Welcome</b>"}
    bot.save()
    answer = client.get("/chat/web/")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Help desk" in page
    assert "&lt;b&gt;Welcome" in page
    assert page.count("<script") == page.count("<script src=") + 1
    assert 'type="application/json"' in page
    assert "/ws/chat/web/" in page
    assert " onclick=" not in page


@pytest.mark.urls("platforms.urls")
def test_page_of_no_chat_is_not_found(client, bot):
    BotFactory.create(slug="door", adapter="webhook")
    BotFactory.create(slug="off", enabled=False)
    for slug in ("nobody", "door", "off"):
        assert client.get(f"/chat/{slug}/").status_code == 404


def test_strings_of_the_script_are_all_there():
    from pathlib import Path

    from platforms.chat.strings import chat_strings

    script = Path(visits.__file__).parents[2] / "static" / "langbot_chat" / "chat.js"
    source = script.read_text(encoding="utf-8")
    used = {word for word in chat_strings() if f"say.{word}" in source}
    assert {"you", "agent", "sending", "ignored"} <= used
    # One place sets HTML: that of replies, which the server has cleaned.
    assert source.count("innerHTML") == 1
    assert "body.innerHTML = item.html;" in source
    assert "insertAdjacentHTML" not in source
    others = [one for one in script.parent.glob("*.js") if one != script]
    for other in others:
        text = other.read_text(encoding="utf-8")
        assert set(re.findall(r"\bsay\.([a-z_]+)", text)) <= set(chat_strings())
        assert "HTML" not in text
