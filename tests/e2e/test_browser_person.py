"""One person's data in a real browser: looked at, taken along, erased; by keyboard."""

import zipfile

import pytest

from tests.support.browser import browser_page, log_in, tab_to
from tests.support.host import RunningHost

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]
WHO, SAID = "user:1", "this is what I said"


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
