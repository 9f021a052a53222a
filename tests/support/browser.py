"""A person with a browser and a keyboard."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Locator, Page, sync_playwright

WAIT = 20_000  # milliseconds
_TABS = 200  # more than any page has stops


@contextmanager
def browser_page(chromium: str, **options: Any) -> Iterator[Page]:
    """Give an empty page; fails when a script of a page has failed.

    `options` are those of Playwright's contexts: size, language, colours.
    """
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"]
        )
        page = browser.new_context(**options).new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: problems.append(f"{page.url}: {error}"))
        yield page
        browser.close()
    assert problems == [], "scripts of the page failed"


def log_in(page: Page, url: str, secrets: Mapping[str, str]) -> None:
    """Enter the admin of the host at `url` with the keyboard."""
    page.goto(f"{url}/admin/login/")
    page.locator("[name=username]").fill(secrets["username"])
    page.locator("[name=password]").fill(secrets["password"])
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/")


def tab_to(page: Page, locator: Locator) -> None:
    """Reach an element with the Tab key alone."""
    locator.first.wait_for()
    for _press in range(_TABS):
        if locator.first.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the Tab key never reaches {locator}")
