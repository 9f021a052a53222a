"""Files that an agent makes, as a person in the web chat has them."""

import pytest

from tests.e2e.test_accessibility import axe, grave_problems  # noqa: F401 - a fixture
from tests.support.browser import browser_page, tab_to
from tests.support.talking_host import host_with_chats
from tests.support.talking_runners import FILES

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def drawing_host():
    with host_with_chats("drawing") as host:
        yield host


@pytest.fixture
def page(chromium_path):
    with browser_page(chromium_path) as page:
        yield page


def saved(page, link):
    """Save what a link leads to by the keyboard; returns its name and bytes."""
    tab_to(page, link)
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_files_stand_below_the_reply_and_are_saved(drawing_host, page, axe):  # noqa: F811
    page.goto(f"{drawing_host.url}/chat/drawing/")
    page.get_by_role("textbox", name="Message").fill("draw")
    page.keyboard.press("Enter")
    files = page.get_by_role("list", name="Files")
    files.wait_for()
    for _ in ("live", "after a reload"):
        files.locator("img.loaded").wait_for()
        assert files.locator("img").count() == 1
        assert files.get_by_role("listitem").count() == len(FILES) + 1
        for name, content in FILES.items():
            assert saved(page, files.get_by_role("link", name=name)) == (name, content)
        elsewhere = files.get_by_role("listitem").filter(has_text="elsewhere.bin")
        assert elsewhere.inner_text() == "elsewhere.bin 2.5 MB · not available"
        assert elsewhere.get_by_role("link").count() == 0
        page.reload()
        files.wait_for()
    assert grave_problems(page, axe, "/chat/ with files") == []


def test_a_page_that_an_agent_made_is_never_run(drawing_host, page):
    page.goto(f"{drawing_host.url}/chat/drawing/")
    page.get_by_role("textbox", name="Message").fill("draw")
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="page.html")
    there = link.evaluate("node => node.href")
    answer = page.request.get(there)
    assert answer.body() == FILES["page.html"]
    assert answer.headers["content-disposition"].startswith("attachment")
    other = page.context.browser.new_context().new_page()
    with other.expect_download():
        other.evaluate("there => { location.href = there }", there)
    assert other.title() == ""
