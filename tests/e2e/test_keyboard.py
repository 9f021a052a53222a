"""The chat and a run's page with Tab and Enter alone."""

import pytest

from tests.support.browser import browser_page, log_in, tab_to

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]
OFFLINE = "plugin:nobody/keyboard/default"  # its runs wait for a plugin


@pytest.fixture
def page(chromium_path):
    with browser_page(chromium_path) as page:
        yield page


def test_chat_is_held_with_the_keyboard(host, page):
    page.goto(host.secrets["chat_url"])
    box = page.get_by_role("textbox", name="Message")
    page.get_by_role("status").get_by_text("Connected").wait_for()
    page.keyboard.type("typed at once")
    assert box.input_value() == "typed at once"
    box.fill("")
    tab_to(page, page.get_by_role("link", name="Skip to the message field"))
    page.keyboard.press("Enter")
    tab_to(page, box)
    page.keyboard.type("sent by Enter")
    page.keyboard.press("Enter")
    page.get_by_role("log").get_by_text("You said: sent by Enter").wait_for()

    tab_to(page, box)
    page.keyboard.type("first line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    tab_to(page, page.get_by_role("button", name="Send"))
    page.keyboard.press("Enter")
    page.get_by_role("log").get_by_text("You said: first line").wait_for()
    assert box.input_value() == ""


def test_a_test_without_a_plugin_says_what_it_waits_for(host, page):
    host.make_agent("test-waits", OFFLINE, name="Tested without a plugin")
    log_in(page, host.url, host.secrets)
    page.goto(f"{host.url}/admin/langbot_agents/agent/?q=test-waits")
    page.get_by_role("link", name="Tested without a plugin").click()
    page.get_by_role("link", name="Test", exact=True).click()
    page.wait_for_url("**/test/**", wait_until="load")
    page.get_by_label("Message").fill("is anybody there?")
    page.keyboard.press("Enter")
    waits = f"It waits for a plugin that serves {OFFLINE}"
    page.get_by_role("status").get_by_text(waits).wait_for()
    page.get_by_role("link", name="Open this run").click()
    page.get_by_text(waits).wait_for()
    came_in = page.get_by_role("region", name="What came in")
    came_in.get_by_text("is anybody there?").wait_for()
    page.get_by_role("button", name="Cancel this run").click()


def test_run_is_found_read_and_cancelled_with_the_keyboard(host, page):
    host.make_agent("keyboard-waits", OFFLINE, name="Waits for a plugin")
    run_id = host.send("please wait", "keyboard-waits")
    log_in(page, host.url, host.secrets)
    tab_to(page, page.locator("#nav-sidebar-inner a", has_text="Runs"))
    page.keyboard.press("Enter")
    search = page.locator("#searchbar")
    tab_to(page, search)
    page.keyboard.type(run_id)
    page.keyboard.press("Enter")
    page.wait_for_url("**q=*")
    tab_to(page, page.locator("#result_list tbody th a"))
    page.keyboard.press("Enter")
    page.get_by_text("run.queued", exact=True).wait_for()

    tab_to(page, page.get_by_role("button", name="Cancel"))
    page.keyboard.press("Enter")
    page.get_by_text("run.failed", exact=True).wait_for()
    assert host.run_of(run_id)["status"] == "cancelled"

    notes = page.locator("#id_notes")
    tab_to(page, notes)
    page.keyboard.type("given up")
    tab_to(page, page.locator("[name=_continue]"))
    page.keyboard.press("Enter")
    page.get_by_text("was changed successfully").wait_for()
    assert host.run_of(run_id)["notes"] == "given up"
