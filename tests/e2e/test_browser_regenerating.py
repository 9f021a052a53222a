"""Replies made anew: in the chat, and from the page of a conversation in the admin."""

import pytest

from tests.e2e.test_accessibility import axe, grave_problems  # noqa: F401 - a fixture
from tests.support import talking_runners
from tests.support.browser import browser_page, log_in, tab_to
from tests.support.talking_host import host_with_chats

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]
SAID = ".message[data-role=user] .text, .message[data-role=assistant] .text"


@pytest.fixture(scope="module")
def talking_host():
    with host_with_chats("numbering", "listening") as host:
        yield host


@pytest.fixture
def page(chromium_path):
    with browser_page(chromium_path) as page:
        yield page


def say(page, text):
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


def ended(page, text):
    """Return a reply that is over: it has its row in the transcript."""
    found = page.locator(".message[data-role=assistant][data-id]", has_text=text)
    found.wait_for()
    return found


def order(page):
    """What was said in the conversation, from top to bottom."""
    said = page.locator("#chat-log").locator(SAID).all()
    return [one.inner_text().strip() for one in said]


def answers(page):
    """The numbers of the answers on the page."""
    return [text.rsplit(" ", 1)[-1] for text in order(page) if " is answer " in text]


def again(reply):
    return reply.get_by_role("button", name="Answer again")


def talk(host, page, *words):
    page.goto(f"{host.url}/chat/numbering/")
    for word in words:
        say(page, word)
        again(ended(page, f"{word} is answer")).wait_for()


def test_the_last_reply_is_made_anew_before_the_readers_eyes(talking_host, page):
    talk(talking_host, page, "one", "two")
    first, second = map(int, answers(page))
    tab_to(page, again(ended(page, f"answer {second}")))
    page.keyboard.press("Enter")
    page.get_by_text(f"answer {second}", exact=False).wait_for(state="detached")
    growing = page.locator(".message[aria-busy=true]", has_text="two is")
    growing.wait_for()  # it streams
    again(ended(page, f"answer {second + 1}")).wait_for()
    shown = ["one", f"one is answer {first}", "two", f"two is answer {second + 1}"]
    assert order(page) == shown
    assert page.evaluate("document.activeElement.id") == "chat-text"
    page.reload()
    ended(page, f"answer {second + 1}")
    assert order(page) == shown


def test_from_an_earlier_reply_it_says_what_goes_first(talking_host, page, axe):  # noqa: F811
    talk(talking_host, page, "one", "two", "three")
    before = order(page)
    first, _, last = map(int, answers(page))
    button = again(ended(page, f"answer {first}"))
    tab_to(page, button)
    page.keyboard.press("Enter")
    asked = page.get_by_role("dialog")
    asked.get_by_text("Messages of yours that go: 2.").wait_for()
    assert grave_problems(page, axe, "/chat/ asking") == []
    page.keyboard.press("Enter")  # what it begins with takes nothing away
    asked.wait_for(state="detached")
    assert order(page) == before
    assert button.evaluate("node => node === document.activeElement")
    page.keyboard.press("Enter")
    asked.wait_for()
    page.keyboard.press("Escape")
    asked.wait_for(state="detached")
    assert order(page) == before
    page.keyboard.press("Enter")
    tab_to(page, asked.get_by_role("button", name="Answer again"))
    page.keyboard.press("Enter")
    page.get_by_text("three", exact=True).wait_for(state="detached")
    again(ended(page, f"answer {last + 1}")).wait_for()
    assert order(page) == ["one", f"one is answer {last + 1}"]
    page.reload()
    ended(page, f"answer {last + 1}")
    assert order(page) == ["one", f"one is answer {last + 1}"]


def test_what_was_added_to_a_turn_is_part_of_the_new_one(talking_host, page):
    page.goto(f"{talking_host.url}/chat/listening/")
    say(page, "begin")
    page.get_by_text("listening", exact=True).last.wait_for()
    for word in ("more", talking_runners.ENOUGH):
        say(page, word)
        page.get_by_text(f"heard {word}").wait_for()
    reply = ended(page, "heard more heard enough")
    shown = order(page)
    again(reply).click()
    reply.wait_for(state="detached")
    again(ended(page, "heard more heard enough")).wait_for()
    assert order(page) == shown
    assert page.locator("#chat-waiting .message").count() == 0
    assert page.get_by_text("withdrawn").count() == 0
    page.reload()
    ended(page, "heard more heard enough")
    assert order(page) == shown


def test_the_admin_asks_and_makes_it_anew(talking_host, page, axe):  # noqa: F811
    talk(talking_host, page, "admin one", "admin two")
    first, last = map(int, answers(page))
    log_in(page, talking_host.url, talking_host.secrets)
    page.goto(f"{talking_host.url}/admin/langbot_runners/conversation/")
    page.get_by_role("link", name="admin one").click()
    there = page.url
    reply = page.locator(".lb-chat > li", has_text=f"admin one is answer {first}")
    tab_to(page, reply.get_by_role("button", name="Regenerate"))
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Make this reply anew?").wait_for()
    page.get_by_text("1 message that was said after it leaves with it").wait_for()
    page.get_by_text("sent to the people of the conversation").wait_for()
    assert grave_problems(page, axe, "the admin asking") == []
    tab_to(page, page.get_by_role("link", name="Go back"))
    page.keyboard.press("Enter")
    page.wait_for_url(there)
    page.get_by_text(f"admin two is answer {last}").wait_for()
    reply.get_by_role("button", name="Regenerate").click()
    button = page.locator("form.lb-card").get_by_role("button", name="Regenerate")
    tab_to(page, button)
    page.keyboard.press("Enter")
    page.wait_for_url(there)
    page.get_by_text("The reply is being made anew.").wait_for()
    assert page.get_by_text("admin two").count() == 0
    talking_host.wait_for(
        lambda: page.reload() and page.get_by_text(f"answer {last + 1}").count(),
        "the new reply in the admin",
    )
    assert page.get_by_text(f"answer {first}", exact=False).count() == 0
