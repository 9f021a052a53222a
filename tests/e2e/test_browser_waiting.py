"""What a visitor sees who writes while the agent answers, or whose answer fails."""

import pytest

from tests.support import talking_runners, usage_rows
from tests.support.browser import browser_page, log_in
from tests.support.talking_host import host_with_chats

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]
NAMES = ("dawdling", "listening", "breaking", "questioning")
SAID = ".message[data-role=user], .message[data-role=assistant], .card"


@pytest.fixture(scope="module")
def talking_host():
    with host_with_chats(*NAMES) as host:
        yield host


@pytest.fixture
def page(chromium_path):
    with browser_page(chromium_path) as page:
        yield page


def visit(page, host, bot):
    page.goto(f"{host.url}/chat/{bot}/")


def say(page, text):
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


def order(page):
    """What was said and asked, from top to bottom."""
    nodes = page.locator("#chat-log").locator(SAID).all()
    parts = [node.locator(".text, .card-title").first for node in nodes]
    return [part.inner_text().strip() for part in parts]


def test_what_waits_can_be_taken_back(talking_host, page):
    visit(page, talking_host, "dawdling")
    say(page, "first")
    page.get_by_text("slow", exact=True).wait_for()
    say(page, "second")
    waiting = page.locator("#chat-waiting .message")
    waiting.get_by_role("button", name="Take back").click()
    page.get_by_text("This message was withdrawn.").wait_for()
    assert waiting.count() == 0
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Agent · Stopped").wait_for()
    assert page.get_by_role("button", name="Answer again").is_visible()
    assert not page.get_by_role("button", name="Take back").is_visible()


def test_what_the_run_took_up_stands_before_its_reply(talking_host, page):
    visit(page, talking_host, "listening")
    say(page, "begin")
    reply = page.locator("#chat-log .message", has_text="listening")
    reply.wait_for()
    say(page, "more")
    more = page.locator("#chat-log .message", has_text="more").first
    more.wait_for()
    page.get_by_text("heard more").wait_for()
    assert not page.get_by_role("button", name="Take back").is_visible()
    assert order(page) == ["begin", "more", "listening heard more"]
    page.reload()
    reply.wait_for()
    assert page.get_by_text("withdrawn").count() == 0
    say(page, talking_runners.ENOUGH)
    page.get_by_role("button", name="Answer again").wait_for()
    live = order(page)
    assert live == [
        "begin",
        "more",
        "enough",
        "listening heard more heard enough",
    ]
    assert page.get_by_text("withdrawn").count() == 0
    page.reload()
    page.get_by_role("button", name="Answer again").wait_for()
    assert order(page) == live


def test_a_used_up_budget_is_said(talking_host, page):
    talking_host.inside(usage_rows.spend_all, slug="dawdling")
    visit(page, talking_host, "dawdling")
    page.wait_for_timeout(6_000)  # a web process remembers for 5 s that there is none
    say(page, "please")
    page.get_by_text("The budget is used up for now.").wait_for()
    talking_host.inside(usage_rows.lift, slug="dawdling")


def test_a_failed_answer_is_told_once(talking_host, page):
    visit(page, talking_host, "breaking")
    say(page, "please")
    page.get_by_text("Sorry, I could not answer.").wait_for()
    page.get_by_text("Agent · Not finished").wait_for()
    again = page.get_by_role("button", name="Answer again")
    assert again.count() == 1
    page.reload()
    page.get_by_text("Agent · Not finished").wait_for()
    assert again.count() == 1


def test_a_question_keeps_its_place(talking_host, page):
    visit(page, talking_host, "questioning")
    say(page, "begin")
    page.get_by_label("Name").fill("Ada")
    page.get_by_role("button", name="OK").click()
    page.get_by_role("button", name="Answer again").wait_for()
    page.get_by_role("status").get_by_text("Answered").wait_for()
    live = order(page)
    assert live[:2] == ["begin", "Who are you?"]
    assert live[2].endswith("Name: Ada")
    assert live[3].startswith("name-1 ok")
    page.reload()
    page.get_by_role("button", name="Answer again").wait_for()
    page.get_by_role("status").get_by_text("Answered").wait_for()
    assert order(page) == live


def open_test(page, host, agent):
    """Come to an agent's test page, with its script."""
    page.goto(f"{host.url}/admin/langbot_agents/agent/?q={agent}")
    page.locator("#result_list tbody th a").first.click()
    page.get_by_role("link", name="Test", exact=True).click()
    page.wait_for_url("**/test/**", wait_until="load")


def test_the_test_page_says_that_a_person_is_asked(talking_host, page):
    log_in(page, talking_host.url, talking_host.secrets)
    open_test(page, talking_host, "questioning")
    say(page, "begin")
    asked = page.locator(".lb-said .lb-saying", has_text="Who are you?")
    asked.get_by_text("Waiting for a person to decide").wait_for()
    asked.get_by_role("link", name="Inbox").click()
    page.wait_for_url("**/pendingaction/")
    page.get_by_text("Who are you?").first.wait_for()


def test_the_test_page_refuses_a_second_message_in_words(talking_host, page):
    log_in(page, talking_host.url, talking_host.secrets)
    open_test(page, talking_host, "dawdling")
    say(page, "first")
    page.locator(".lb-said").get_by_text("slow").wait_for()
    say(page, "second")
    page.get_by_text("Please wait for the answer, or stop it.").wait_for()
    assert page.get_by_role("textbox", name="Message").input_value() == "second"
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("status").get_by_text("cancelled").wait_for()


def test_prices_are_wide_enough_to_be_read(talking_host, page):
    log_in(page, talking_host.url, talking_host.secrets)
    page.goto(f"{talking_host.url}/admin/langbot_agents/model/")
    page.locator("#result_list tbody th a").first.click()
    page.get_by_text("Add another Price").click()
    price = page.locator("[name=prices-0-output_microdollars]")
    price.fill("15000000")
    assert price.evaluate("field => field.scrollWidth <= field.clientWidth")


def test_sendmessage_says_what_it_is_asked(talking_host):
    command = ("manage.py", "sendmessage", "questioning", "begin", "--follow")
    said = talking_host.processes.run(*command).strip().splitlines()
    assert said[0] == "questioning: Who are you?"
    assert f"{talking_host.url}/actions/" in said[-1]
