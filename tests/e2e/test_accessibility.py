"""Every page, in light and dark, by axe-core: nothing serious, nothing critical."""

import json
from pathlib import Path

import pytest

from tests.support import asked_rows
from tests.support.browser import browser_page, log_in
from tests.support.host import RunningHost
from tests.support.host_rows import set_agent
from tests.support.npm import npm_package
from tests.support.pages import admin_pages

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]
AXE_VERSION = "4.14.1"
GRAVE = ("serious", "critical")
# What is not ours to change, with the reason: {"rule", "selector", "reason"}.
KNOWN = json.loads(
    (Path(__file__).parents[1] / "data" / "accessibility.json").read_text()
)
# Only colours differ in the dark: the other rules have spoken by then.
RULES_OF_COLOUR = ["color-contrast", "link-in-text-block"]
ASK_AXE = """async rules => {
  const options = {resultTypes: ['violations'], ...(rules && {runOnly: rules})};
  const found = await axe.run(document, options);
  return found.violations.map(({id, impact, help, nodes}) => ({id, impact, help,
    nodes: nodes.map(({target, html, failureSummary}) =>
      ({target: target.join(' '), html: html.slice(0, 200), why: failureSummary}))}));
}"""
OPEN_PAGES = [
    "/admin/login/",
    "/chat/web/",
    "/problems/not_found",
    "/problems/never_heard_of_it",
    "/no/such/page/",
]
WITHOUT_A_MODEL = {
    "runner_id": "plugin:langbot/local-agent/default",
    "runner_config": {},
}
WIDTHS = (390, 1280)  # the last one stays
SAID = "a **bold** word, a [link](https://example.org), `code` and\n\n- a list"


@pytest.fixture(scope="module")
def lively_host():
    """A host with a row of every model, and runs that really happened."""
    with RunningHost() as host:
        host.make_agent("broken", "plugin:langbot/echo/default")
        host.inside(set_agent, slug="broken", columns=WITHOUT_A_MODEL)
        for agent in ("echo", "assistant"):
            host.ask(SAID, agent)
        host.wait_run(host.send("hello", "broken"))
        yield host


@pytest.fixture(scope="module")
def axe():
    """The text of axe-core."""
    return (npm_package("axe-core", AXE_VERSION) / "axe.min.js").read_text()


@pytest.fixture
def page(chromium_path):
    # Nothing may be half faded in when its colours are looked at.
    with browser_page(chromium_path, reduced_motion="reduce") as page:
        yield page


def grave_problems(page, axe, path):
    """What axe-core finds on a page, in light and then in dark."""
    dress(page, dark=False)
    page.evaluate(axe)
    found = [("light", one) for one in page.evaluate(ASK_AXE, None)]
    dress(page, dark=True)
    found += [("dark", one) for one in page.evaluate(ASK_AXE, RULES_OF_COLOUR)]
    return [
        f"{path} ({theme}) {one['id']}: {node['html']}\n  {node['why']}"
        for theme, one in found
        if one["impact"] in GRAVE
        for node in one["nodes"]
        if not is_known(page, one["id"], node["target"])
    ]


def too_wide(page, path):
    """Whether the page has to be moved sideways, on a desk or in a hand."""
    over = "() => document.documentElement.scrollWidth - window.innerWidth"
    problems = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        if (pixels := page.evaluate(over)) > 0:
            problems.append(f"{path}: {pixels} px too wide at {width}")
    return problems


def dress(page, *, dark):
    """Choose a theme as a person does: by the system, and by the admin's switch."""
    page.emulate_media(color_scheme="dark" if dark else "light")
    page.evaluate(
        "dark => document.documentElement.classList.toggle('dark', dark)", dark
    )


def is_known(page, rule, target):
    matches = "([target, known]) => !!document.querySelector(target)?.closest(known)"
    return any(
        page.evaluate(matches, [target, one["selector"]])
        for one in KNOWN
        if one["rule"] == rule
    )


def is_page(answer):
    """Say whether an address gave a page; acts that take POST only do not."""
    kind = answer.headers.get("content-type", "")
    return answer.status in {200, 404} and kind.startswith("text/html")


def check(page, axe, host, paths):
    """Open the paths; returns how many were pages, and what is wrong with them."""
    problems, count = [], 0
    for path in paths:
        answer = page.goto(host.url + path)
        if is_page(answer):
            count += 1
            problems += too_wide(page, path) + grave_problems(page, axe, path)
        else:
            assert answer.status in {200, 403, 405}, f"{path}: {answer.status}"
    return count, problems


def test_admin_is_for_everybody(lively_host, page, axe):
    log_in(page, lively_host.url, lively_host.secrets)
    paths = lively_host.inside(admin_pages)
    count, problems = check(page, axe, lively_host, paths)
    assert count > 90
    assert not problems, "\n".join(problems)


def test_one_persons_data_is_for_everybody(lively_host, page, axe):
    """What is held, nobody, and a wrong entry; the empty page is among the admin's."""
    log_in(page, lively_host.url, lively_host.secrets)
    person = "/admin/langbot_runners/conversation/person/?place="
    paths = [f"{person}api:default&actor={who}" for who in ("user:1", "nobody", "")]
    count, problems = check(page, axe, lively_host, [*paths, f"{person}none&actor=x"])
    assert count == len(paths) + 1
    assert not problems, "\n".join(problems)


def test_rows_of_an_agents_form_are_for_everybody(lively_host, page, axe):
    """Tools of clients, with the parts of the form open that are closed at first."""
    log_in(page, lively_host.url, lively_host.secrets)
    page.goto(f"{lively_host.url}/admin/langbot_agents/agent/?q=assistant")
    page.locator("#result_list tbody th a").first.click()
    page.locator("[data-lb-ready]").last.wait_for(state="attached")
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.get_by_role("button", name="Add a tool").click()
    page.get_by_role("group", name="Tool 2").wait_for()
    problems = grave_problems(page, axe, "an agent") + too_wide(page, "an agent")
    assert not problems, "\n".join(problems)


def test_pages_without_a_login_are_for_everybody(lively_host, page, axe):
    count, problems = check(page, axe, lively_host, OPEN_PAGES)
    assert count == len(OPEN_PAGES)
    assert not problems, "\n".join(problems)


def test_decisions_are_for_everybody(lively_host, page, axe):
    """The cards of the chat, for visitors and for who approves, and signed links."""
    kinds = ("approval", "question")
    ask = [{"text": SAID, "kind": kind} for kind in kinds]
    paths = [lively_host.inside(asked_rows.ask, **one)["link"] for one in ask]
    count, problems = check(page, axe, lively_host, paths)
    assert count == len(paths)
    page.goto(lively_host.secrets["chat_url"])
    page.get_by_role("textbox", name="Message").fill("cards for everybody")
    page.keyboard.press("Enter")
    page.get_by_role("log").get_by_text("You said: cards for everybody").wait_for()
    for kind in kinds:
        lively_host.inside(asked_rows.ask, text="cards for everybody", kind=kind)
    page.reload()
    page.get_by_role("heading", name="Which size?").wait_for()
    problems += grave_problems(page, axe, "/chat/web/ with cards")
    log_in(page, lively_host.url, lively_host.secrets)
    page.goto(lively_host.secrets["chat_url"])
    page.get_by_text("It costs money.").wait_for()
    problems += grave_problems(page, axe, "/chat/web/ of who approves")
    assert not problems, "\n".join(problems)


def test_api_docs_are_for_everybody(lively_host, page, axe):
    log_in(page, lively_host.url, lively_host.secrets)
    page.goto(lively_host.url + "/api/v1/docs/")
    page.locator(".opblock").first.wait_for()
    problems = grave_problems(page, axe, "/api/v1/docs/")
    assert not problems, "\n".join(problems)
