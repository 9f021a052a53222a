"""One person's data in a real browser: looked at, taken along, erased; by keyboard."""

import zipfile
from pathlib import Path

import pytest

from tests.support.browser import browser_page, log_in, tab_to
from tests.support.host import RunningHost

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]
WHO, SAID = "user:1", "this is what I said"
SCRIPT = Path(__file__).parents[2] / "static/langbot_admin/person.js"
# The page between two parts of erasing, as its template makes it.
MORE = """
<form method="post" action="/erase/" data-lb-again>
    <button type="submit">Go on</button> <a href="/stopped/">Stop here</a>
</form>
"""


@pytest.fixture
def own_host():
    with RunningHost() as host:
        yield host


@pytest.fixture
def page(chromium_path):
    with browser_page(chromium_path, accept_downloads=True) as page:
        yield page


def test_a_person_is_looked_up_exported_and_erased(own_host, page):
    own_host.ask(SAID, "echo")
    log_in(page, own_host.url, own_host.secrets)
    tab_to(page, page.locator("#nav-sidebar-inner a", has_text="One person's data"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("Where they speak"))
    page.keyboard.type("Default", delay=20)
    tab_to(page, page.get_by_label("Their id"))
    page.keyboard.type(WHO)
    page.keyboard.press("Enter")
    held = page.get_by_role("region", name="What is held")
    held.get_by_text("conversations of their own").wait_for()

    tab_to(page, held.get_by_role("button", name="Export"))
    with page.expect_download() as coming:
        page.keyboard.press("Enter")
    with zipfile.ZipFile(coming.value.path()) as archive:
        assert SAID in archive.read("messages.jsonl").decode()

    confirm = page.get_by_label("Type the id to erase them")
    tab_to(page, confirm)
    page.keyboard.type("user:2")
    page.keyboard.press("Enter")
    page.get_by_text("This is not the id above.").wait_for()
    tab_to(page, confirm)
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(WHO)
    tab_to(page, page.get_by_role("button", name="Erase"))
    page.keyboard.press("Enter")
    page.get_by_text("Erased: ").wait_for()
    assert own_host.api("GET", "events/")["results"] == []


@pytest.fixture
def opened(page):
    """Open the page of which more is to be erased; give what it asks for.

    `pressed` is pressed before the moment after which it goes on by itself. No answer
    comes to what it asks then: a page may be slow.
    """
    asked = []

    def give(pressed):
        press = f"setTimeout(() => document.querySelector('{pressed}').click(), 100)"
        scripts = [SCRIPT.read_text(), press if pressed else ""]
        body = MORE + "".join(f"<script>{one}</script>" for one in scripts)

        def answer(route):
            asked.append(route.request.url.rsplit("/", 2)[1])
            if asked == ["more"]:
                route.fulfill(content_type="text/html", body=body)

        page.route("**/*", answer)
        page.goto("http://host.example/more/")
        return asked

    return give


@pytest.mark.parametrize(
    ("pressed", "then"),
    [("", ["erase"]), ("button", ["erase"]), ("a", ["stopped"])],
)
def test_erasing_goes_on_once_and_not_after_a_stop(page, opened, pressed, then):
    asked = opened(pressed)
    page.wait_for_timeout(3000)
    assert asked == ["more", *then]
