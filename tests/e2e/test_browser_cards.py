"""A person decides in a real browser: in the chat, in the inbox and by a link."""

import pytest

from tests.support import asked_rows
from tests.support.browser import browser_page, log_in, tab_to

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def page(chromium_path):
    with browser_page(chromium_path) as page:
        yield page


def say(page, host, text):
    """Say something in the chat, and wait for the reply."""
    page.goto(host.secrets["chat_url"])
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")
    page.get_by_role("log").get_by_text(f"You said: {text}").wait_for()


def card(page):
    return page.locator(".card").last


def decided(host, asked):
    return host.inside(asked_rows.decision_of, key=asked["key"])


def test_a_visitor_answers_with_the_keyboard(host, page):
    say(page, host, "a card with a question")
    asked = host.inside(asked_rows.ask, text="a card with a question", kind="question")
    page.reload()
    card(page).get_by_role("heading", name="Which size?").wait_for()
    tab_to(page, card(page).get_by_label("Size"))
    page.keyboard.press("M")
    tab_to(page, card(page).get_by_label("A gift"))
    page.keyboard.press("Space")
    tab_to(page, card(page).get_by_role("button", name="Send the answer"))
    page.keyboard.press("Enter")
    card(page).get_by_role("status").get_by_text("Answered").wait_for()
    said = decided(host, asked)
    assert (said["status"], said["who"]) == ("responded", "Visitor")
    assert said["values"] == {"size": "m", "gift": True}


DAYS = {
    "id": "days",
    "type": "multiselect",
    "label": "Days",
    "required": True,
    "options": [{"value": one, "label": one} for one in ("Monday", "Tuesday")],
}
FLOOR = {"id": "floor", "type": "number", "label": "Floor", "required": True}


def test_a_form_says_on_itself_what_is_missing(host, page):
    say(page, host, "a card with a form")
    asked = host.inside(asked_rows.ask, text="a card with a form", kind="question")
    host.inside(asked_rows.give_form, key=asked["key"], fields=[FLOOR, DAYS])
    page.reload()
    tab_to(page, card(page).get_by_label("Floor"))
    page.keyboard.type("3")
    send = card(page).get_by_role("button", name="Send it")
    tab_to(page, send)
    page.keyboard.press("Enter")
    monday = card(page).get_by_label("Monday")
    assert monday.evaluate("box => box === document.activeElement")
    assert monday.evaluate("box => box.validationMessage") == "Choose at least one."
    assert decided(host, asked)["status"] == "open"

    card(page).locator("form").evaluate("form => { form.noValidate = true }")
    tab_to(page, send)
    page.keyboard.press("Enter")
    state = card(page).get_by_role("status")
    state.get_by_text("Please check your answer.").wait_for()
    assert page.get_by_role("alert").count() == 0  # it stands where it belongs
    assert send.evaluate("button => button === document.activeElement")

    tab_to(page, card(page).get_by_label("Tuesday"))
    page.keyboard.press("Space")
    tab_to(page, send)
    page.keyboard.press("Enter")
    state.get_by_text("Answered").wait_for()
    assert card(page).evaluate("node => node === document.activeElement")
    given = {"action_id": "send", "floor": 3, "days": ["Tuesday"]}
    assert decided(host, asked)["values"] == given


def test_who_may_approve_does_and_the_visitor_sees_it(host, page, chromium_path):
    say(page, host, "a card to approve")
    asked = host.inside(asked_rows.ask, text="a card to approve")
    page.reload()
    waits = card(page).get_by_role("status")
    waits.get_by_text("Waiting for somebody who may approve it.").wait_for()
    assert "pay" not in card(page).inner_text()
    assert card(page).get_by_role("button").count() == 0

    chat = page.evaluate("() => JSON.stringify(localStorage)")
    context = page.context.browser.new_context()
    # Before any script of a page: its own visit would be kept over this one.
    context.add_init_script(
        f"Object.entries({chat}).forEach(pair => localStorage.setItem(...pair))"
    )
    boss = context.new_page()
    boss.set_default_timeout(60_000)
    log_in(boss, host.url, host.secrets)
    boss.goto(host.secrets["chat_url"])
    card(boss).get_by_text("It costs money.").wait_for()
    assert '"euro": 5' in card(boss).inner_text()
    assert "sk-1" not in card(boss).inner_text()
    tab_to(boss, card(boss).get_by_label("Reason (optional)"))
    boss.keyboard.type("this once")
    tab_to(boss, card(boss).get_by_role("button", name="Approve"))
    boss.keyboard.press("Enter")
    card(boss).get_by_role("status").get_by_text("decided at").wait_for()
    waits.get_by_text("approved").wait_for()
    said = decided(host, asked)
    assert (said["status"], said["reason"]) == ("approved", "this once")
    assert said["who"] == host.secrets["username"]
    context.close()


def test_the_inbox_is_worked_with_the_keyboard(host, page):
    host.ask("please decide")
    mine = host.inside(asked_rows.ask, text="please decide")
    late = host.inside(asked_rows.ask, text="please decide")
    log_in(page, host.url, host.secrets)
    inbox = page.locator("#nav-sidebar-inner a", has_text="Inbox")
    assert "waiting" in inbox.text_content()
    tab_to(page, inbox)
    page.keyboard.press("Enter")
    page.wait_for_url("**/pendingaction/")
    there = f"{host.url}/admin/langbot_runners/pendingaction"
    page.goto(f"{there}/{mine['key']}/change/")
    page.get_by_role("heading", name="Your decision").wait_for()
    tab_to(page, page.get_by_label("Reason"))
    page.keyboard.type("too dear")
    tab_to(page, page.get_by_role("button", name="Reject"))
    page.keyboard.press("Enter")
    page.get_by_text("decided at").first.wait_for()
    said = decided(host, mine)
    assert (said["status"], said["reason"]) == ("rejected", "too dear")

    page.goto(f"{there}/{late['key']}/change/")
    approve = page.get_by_role("button", name="Approve", exact=True)
    approve.wait_for()
    host.inside(asked_rows.decide, key=late["key"], decision="reject")
    approve.click()
    page.get_by_text("boss decided at").first.wait_for()
    assert decided(host, late)["status"] == "rejected"


def test_a_link_needs_no_account(host, page):
    host.ask("please decide by link")
    asked = host.inside(asked_rows.ask, text="please decide by link")
    page.goto(host.url + asked["link"])
    page.get_by_role("heading", name="May the agent use pay?").wait_for()
    assert decided(host, asked)["status"] == "open"
    tab_to(page, page.get_by_role("button", name="Approve"))
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Your decision has been passed on").wait_for()
    assert decided(host, asked)["status"] == "approved"
    page.goto(host.url + asked["link"])
    page.get_by_text("Somebody with the link decided at").wait_for()
