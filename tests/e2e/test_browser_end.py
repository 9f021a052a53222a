"""The end of a conversation in the web chat: shown to who is there, and only then."""

import pytest

from tests.support.browser import browser_page
from tests.support.talking_host import host_with_chats

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]
SMALL = {"width": 390, "height": 500}
HIDDEN = "main => main.scrollHeight - main.clientHeight - main.scrollTop"
NEAR = 3  # pixels


@pytest.fixture(scope="module")
def talking_host():
    with host_with_chats("numbering", "dawdling", "listening") as host:
        yield host


@pytest.fixture
def page(chromium_path):
    with browser_page(chromium_path, viewport=SMALL) as page:
        yield page


def say(page, text):
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


def ready(page):
    """Wait until nothing is under way, and the page is drawn."""
    page.locator("#chat-status[data-state=ready]").wait_for()
    page.wait_for_timeout(200)


def hidden(page):
    """How much of the conversation is below what is in view, in pixels."""
    return page.locator("main").evaluate(HIDDEN)


def top(page):
    return page.locator("main").evaluate("main => main.scrollTop")


def say_and_read(page, text, answer):
    say(page, text)
    replies = page.locator(".message[data-role=assistant][data-id]")
    replies.filter(has_text=answer).wait_for()
    ready(page)
    assert hidden(page) < NEAR, text


def read_upwards(page):
    """Turn the wheel over the conversation, as who looks for something earlier."""
    page.locator("main").hover()
    page.mouse.wheel(0, -150)
    page.wait_for_timeout(400)  # it glides
    assert hidden(page) > NEAR


def test_each_answer_of_a_fast_agent_is_in_view(talking_host, page):
    page.goto(talking_host.secrets["chat_url"])
    for number in range(6):
        say_and_read(page, f"word {number}", f"You said: word {number}")
    page.set_viewport_size({"width": 390, "height": 400})
    page.wait_for_timeout(200)
    assert hidden(page) < NEAR, "a window that became lower"
    page.reload()
    page.get_by_text("You said: word 5").wait_for()
    ready(page)
    assert hidden(page) < NEAR, "after a reload"


def test_who_reads_further_up_stays_there(talking_host, page):
    page.goto(f"{talking_host.url}/chat/numbering/")
    for word in ("one", "two", "three"):
        say_and_read(page, word, f"{word} is answer")
    say(page, "four")
    page.get_by_text("four is").wait_for()
    read_upwards(page)
    before = top(page)
    ended = page.locator(".message[data-role=assistant][data-id]")
    ended.filter(has_text="four is answer").wait_for()
    ready(page)
    assert top(page) == before
    page.mouse.wheel(0, 5000)
    page.wait_for_timeout(400)
    say_and_read(page, "five", "five is answer")


def test_a_stopped_answer_is_in_view(talking_host, page):
    page.goto(f"{talking_host.url}/chat/dawdling/")
    for count in range(1, 4):
        say(page, "begin")
        page.get_by_text("slow", exact=True).nth(count - 1).wait_for()
        page.get_by_role("button", name="Stop").click()
        stopped = page.get_by_text("Agent · Stopped")
        stopped.nth(count - 1).wait_for()
        ready(page)
        assert hidden(page) < NEAR, count
    assert page.get_by_role("button", name="Answer again").last.is_visible()


def test_an_opened_block_of_thoughts_is_read_from_its_beginning(talking_host, page):
    page.goto(f"{talking_host.url}/chat/listening/")
    for count in range(1, 4):
        say(page, "begin")
        page.get_by_text("listening").nth(count - 1).wait_for()
        say(page, "enough")
        page.get_by_role("button", name="Answer again").nth(count - 1).wait_for()
        ready(page)
        assert hidden(page) < NEAR, count
    before = top(page)
    page.locator("summary").last.click()
    page.get_by_text("I listen.").last.wait_for()
    page.wait_for_timeout(200)
    assert top(page) == before
