"""A new user with a keyboard: makes an agent, binds it, tests it, reads its run."""

import re

import pytest

from tests.e2e.test_first_start import Installation

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]
WAIT = 20_000  # milliseconds
TABS = 200  # more than any page has stops
SAID = "what a keyboard can do, all of it, from the first letter to the last"


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    made = Installation(tmp_path_factory.mktemp("agents") / "data").start()
    made.wait_ready()
    yield made
    made.end()


@pytest.fixture
def page(chromium_path, installation):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox"]
        )
        page = browser.new_context().new_page()
        page.set_default_timeout(WAIT)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        log_in(page, installation)
        yield page
        browser.close()
    assert problems == [], "scripts of the page failed"


def log_in(page, installation):
    secrets = installation.secrets
    page.goto(secrets["admin_url"])
    page.get_by_label("Username").fill(secrets["username"])
    page.get_by_label("Password").fill(secrets["password"])
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Overview").wait_for()


def tab_to(page, locator):
    """Reach an element with the Tab key alone."""
    locator.first.wait_for()
    for _press in range(TABS):
        if locator.first.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the Tab key never reaches {locator}")


def choose(page, locator, label):
    """Choose an option as the keyboard does: by its first letters."""
    tab_to(page, locator)
    page.keyboard.type(label, delay=20)


def test_new_agent_is_made_bound_tested_and_understood(installation, page):
    page.goto(f"{installation.url}/admin/langbot_agents/agent/add/")
    tab_to(page, page.locator("#id_name"))
    page.keyboard.type("Parrot")
    assert page.locator("#id_slug").input_value() == "parrot"
    choose(page, page.locator("#id_runner_id"), "Echo")
    page.wait_for_selector("fieldset.lb-grown:not([aria-busy])")
    tab_to(page, page.locator("[name=_continue]"))
    page.keyboard.press("Enter")
    page.get_by_text("No binding leads to this agent").wait_for()

    # Bound on its own page.
    tab_to(page, page.get_by_role("link", name=re.compile("Add another", re.I)))
    page.keyboard.press("Enter")
    choose(page, page.locator("#id_bindings-0-scope"), "the whole workspace")
    tab_to(page, page.locator("[name=_continue]"))
    page.keyboard.press("Enter")
    page.get_by_text("was changed successfully").wait_for()
    assert page.get_by_text("No binding leads").count() == 0

    # Tested; the ledger grows beside the reply.
    tab_to(page, page.get_by_role("link", name="Test", exact=True))
    page.keyboard.press("Enter")
    box = page.get_by_label("Message")
    tab_to(page, box)
    page.keyboard.type(SAID)
    page.keyboard.press("Enter")
    log = page.get_by_role("log")
    log.get_by_text(f"You said: {SAID}").wait_for()
    page.get_by_role("status").get_by_text("completed").wait_for()
    ledger = page.get_by_role("region", name="What happens inside")
    for type_ in ("run.queued", "run.started", "message.completed", "run.completed"):
        assert ledger.get_by_text(type_, exact=True).count() == 1
    assert log.get_attribute("aria-busy") is None

    # A second message goes on in the same conversation.
    assert box.evaluate("element => element === document.activeElement")
    page.keyboard.type("and again")
    page.keyboard.press("Enter")
    log.get_by_text("You said: and again").wait_for()

    # Its run, from the test to what happened.
    tab_to(page, page.get_by_role("link", name="Open this run"))
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="What came in").wait_for()
    page.get_by_text("You said: and again").first.wait_for()


def test_a_new_conversation_hears_nothing_of_the_one_before(installation, page):
    page.goto(f"{installation.url}/admin/langbot_agents/agent/?q=assistant")
    page.get_by_role("link", name="Assistant").last.click()
    page.get_by_role("link", name="Test", exact=True).click()
    log, box = page.get_by_role("log"), page.get_by_label("Message")
    for text in ("first of all", "first again"):
        box.fill(text)
        page.keyboard.press("Enter")
        page.get_by_role("button", name="New conversation").click()
    box.fill("second")
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("completed").wait_for()
    assert "second" in log.inner_text()
    assert "first" not in log.inner_text()
    page.get_by_role("button", name="New conversation").click()
    assert page.get_by_role("status").inner_text() == ""
    page.wait_for_timeout(1000)
    assert page.get_by_role("status").inner_text() == ""


def test_prompt_is_written_with_the_keyboard(installation, page):
    page.goto(f"{installation.url}/admin/langbot_agents/agent/?q=assistant")
    page.get_by_role("link", name="Assistant").last.click()
    editor = page.locator(".lb-prompt")
    tab_to(page, editor.get_by_role("button", name="Add a message"))
    page.keyboard.press("Enter")
    page.keyboard.type("How are you?")  # the new message has the focus
    roles = editor.get_by_label("Role")
    assert [roles.nth(n).input_value() for n in range(2)] == ["system", "user"]
    tab_to(page, editor.get_by_role("button", name="Move up").nth(1))
    page.keyboard.press("Enter")
    assert editor.get_by_label("Text").first.input_value() == "How are you?"
    page.locator("[name=_continue]").focus()
    page.keyboard.press("Enter")
    page.get_by_text("was changed successfully").wait_for()
    texts = page.locator(".lb-prompt").get_by_label("Text")
    assert texts.first.input_value() == "How are you?"

    # What changed, and back again.
    page.get_by_role("link", name="Compare versions").click()
    page.locator("ins", has_text="How are you?").first.wait_for()
    page.get_by_role("button", name="Restore version 1").press("Enter")
    page.get_by_text("is as it was in version 1").wait_for()
    first = page.locator(".lb-prompt").get_by_label("Text").first
    assert first.input_value() != "How are you?"


def test_tools_of_clients_are_written_with_the_keyboard(installation, page):
    page.goto(f"{installation.url}/admin/langbot_agents/agent/?q=echo")
    page.get_by_role("link", name="Echo").last.click()
    tab_to(page, page.locator("summary", has_text="What may it use?"))
    page.keyboard.press("Enter")
    rows = page.locator("[data-lb-prompt=resource_client_tools]")
    tab_to(page, rows.get_by_label("Name"))
    page.keyboard.type("local time")
    tab_to(page, rows.get_by_role("button", name="Add a tool"))
    page.keyboard.press("Enter")
    page.keyboard.type("weather")  # the name of the new one has the focus
    page.locator("[name=_continue]").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Tool 1 · Name: Enter 1 to 64").wait_for()
    names = rows.get_by_label("Name")
    names.first.fill("local_time")
    page.locator("[name=_continue]").focus()
    page.keyboard.press("Enter")
    page.get_by_text("was changed successfully").wait_for()
    assert [names.nth(n).input_value() for n in range(2)] == ["local_time", "weather"]


def test_who_would_answer_is_asked_with_the_keyboard(installation, page):
    page.goto(f"{installation.url}/admin/langbot_agents/agentbinding/")
    tab_to(page, page.get_by_role("link", name="Who would answer?"))
    page.keyboard.press("Enter")
    choose(page, page.get_by_label("Bot"), "Web chat")
    tab_to(page, page.get_by_role("button", name="Who would answer?"))
    page.keyboard.press("Enter")
    page.get_by_text("Echo would answer.").wait_for()


def test_collision_is_shown_and_decided_in_the_browser(installation, page):
    url = f"{installation.url}/admin/langbot_agents/agent/?q=assistant"
    page.goto(url)
    page.get_by_role("link", name="Assistant").last.click()
    page.wait_for_url("**/change/**")
    other = page.context.new_page()
    other.goto(page.url)
    for tab, text in ((other, "from the other tab"), (page, "from this tab")):
        tab.locator("#id_description").fill(text)
    other.locator("[name=_continue]").click()
    other.get_by_text("was changed successfully").wait_for()
    page.locator("[name=_continue]").click()
    page.get_by_text("Somebody else has saved this meanwhile").wait_for()
    page.locator("ins", has_text="from the other tab").wait_for()
    keep = page.get_by_label("Keep mine")
    tab_to(page, keep)
    page.keyboard.press("Space")
    page.locator("[name=_continue]").focus()
    page.keyboard.press("Enter")
    page.get_by_text("was changed successfully").wait_for()
    assert page.locator("#id_description").input_value() == "from this tab"
