"""A person with a browser: says something in the web chat, looks it up in the admin."""

import pytest

from tests.e2e.test_first_start import Installation

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]
WAIT = 20_000  # milliseconds


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    made = Installation(tmp_path_factory.mktemp("browser") / "data").start()
    made.wait_ready()
    yield made
    made.end()


@pytest.fixture
def page(chromium_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.set_default_timeout(WAIT)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
        browser.close()
    assert problems == [], "scripts of the page failed"


def test_a_message_streams_its_reply_and_the_admin_shows_it(installation, page):
    text = "hello from a real browser, please say all of this back"
    page.goto(installation.secrets["chat_url"])
    box = page.get_by_role("textbox")
    box.fill(text)
    box.press("Enter")
    page.get_by_text(f"You said: {text}").wait_for()

    answered = page.locator("#chat-log .message[data-role=assistant][data-id]")
    again = answered.get_by_role("button", name="Answer again")
    first = answered.get_attribute("data-id")
    again.focus()
    page.keyboard.press("Enter")
    page.locator(f'[data-id="{first}"]').wait_for(state="detached")
    again.wait_for()
    assert answered.count() == 1
    assert box.evaluate("node => node === document.activeElement")

    secrets = installation.secrets
    page.goto(secrets["admin_url"])
    page.get_by_label("Username").fill(secrets["username"])
    page.get_by_label("Password").fill(secrets["password"])
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/admin/")
    for model in ("eventlog", "agentrun", "delivery"):
        answer = page.goto(f"{installation.url}/admin/langbot_runners/{model}/")
        assert answer.status == 200, model
        rows = page.locator("#result_list tbody tr")
        rows.first.wait_for()
        assert rows.count() >= 1, model
    page.goto(f"{installation.url}/admin/langbot_runners/agentrun/")
    page.locator("#result_list tbody tr th a").first.click()
    page.get_by_text("message.completed").first.wait_for()
    page.get_by_text("run.completed").first.wait_for()
