"""Takes the pictures that the documents show, of a host of its own: `make screenshots`.

Rows of the last day are made up; everything else is done as a person does it.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, ViewportSize

from tests.support import asked_rows
from tests.support.browser import browser_page, log_in
from tests.support.host import RunningHost
from tests.support.made_day import make_a_day

_IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_SIZE: ViewportSize = {"width": 1280, "height": 800}
_TALL: ViewportSize = {"width": 1280, "height": 1000}
_PROMPT = "You are the support desk of a bicycle shop. Answer briefly and kindly."
_QUESTION = "My order 1042 has not arrived yet. What can I do?"


def prepare(host: RunningHost) -> dict[str, str]:
    """Make an agent of a shop, a day of its runs and one real one; return its ids."""
    assistant = host.api("GET", "agents/by-slug/assistant/")
    config = assistant["runner_config"]
    config["prompt"] = [{"role": "system", "content": _PROMPT}]
    agent = host.make_agent(
        "support",
        assistant["runner"],
        config,
        name="Support",
        description="Answers what customers of the shop ask.",
    )
    binding = {"agent": agent["id"], "scope": "bot", "scope_ref": "web", "priority": 5}
    host.api("POST", "bindings/", json=binding)
    host.inside(make_a_day, agents=["support", "echo", "assistant"])
    return {"run_id": str(host.ask(_QUESTION, "support")["id"])}


def take(page: Page, host: RunningHost, run_id: str) -> None:
    """Take every picture."""
    _talk(page, host)
    log_in(page, host.url, host.secrets)
    page.set_viewport_size(_TALL)
    _save(page, "overview")
    page.set_viewport_size(_SIZE)
    agent = _open_first(page, f"{host.url}/admin/langbot_agents/agent/?q=support")
    _show(page, "#id_runner_id")
    _save(page, "agent")
    page.goto(f"{agent}/test/")
    page.get_by_label("Message").fill(_QUESTION)
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("completed").wait_for()
    _save(page, "agent-test")
    runs = f"{host.url}/admin/langbot_runners/agentrun/"
    page.goto(runs)
    _save(page, "runs")
    _open_first(page, f"{runs}?q={run_id}")
    page.get_by_text("run.completed").first.wait_for()
    _save(page, "run")
    asked = host.inside(asked_rows.ask, text=_QUESTION)
    page.goto(f"{host.url}/admin/langbot_runners/pendingaction/{asked['key']}/change/")
    page.get_by_role("heading", name="Your decision").wait_for()
    _save(page, "approval")
    _open_first(page, f"{runs}?q={run_id}")
    page.emulate_media(color_scheme="dark")
    page.reload()
    page.get_by_text("run.completed").first.wait_for()
    _save(page, "run-dark")


def _talk(page: Page, host: RunningHost) -> None:
    page.set_viewport_size({"width": 900, "height": 520})
    page.goto(host.secrets["chat_url"])
    page.get_by_role("textbox").fill(_QUESTION)
    page.keyboard.press("Enter")
    page.get_by_text("You said: " + _QUESTION).wait_for()
    _save(page, "chat")


def _open_first(page: Page, address: str) -> str:
    """Open the first row of a list; return the address of its pages."""
    page.goto(address)
    page.locator("#result_list tbody th a").first.click()
    page.wait_for_url("**/change/**")
    return page.url.partition("/change/")[0]


def _show(page: Page, selector: str) -> None:
    """Scroll an element's group of fields to the top."""
    page.locator(selector).evaluate(
        "element => element.closest('fieldset').scrollIntoView()"
    )


def _save(page: Page, name: str) -> None:
    """Write a picture once nothing moves any more."""
    page.wait_for_load_state("networkidle")
    page.screenshot(path=_IMAGES / f"{name}.png", animations="disabled")


def main() -> int:
    """Take the pictures; returns 1 where there is no browser."""
    chromium = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if chromium is None:
        sys.stderr.write("screenshots: no Chromium is installed\n")
        return 1
    _IMAGES.mkdir(exist_ok=True)
    options = {"viewport": _SIZE, "color_scheme": "light", "reduced_motion": "reduce"}
    with RunningHost() as host, browser_page(chromium, **options) as page:
        take(page, host, **prepare(host))
    return 0


if __name__ == "__main__":
    sys.exit(main())
