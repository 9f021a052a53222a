"""The link that an asking agent may hand on leads people to the talk (AG-98)."""

from runners import sub_runs
from tests.runners.host_api.test_sub_runs import (  # noqa: F401  fixtures
    boss,
    call_of,
    helper,
    start,
)


def test_the_link_is_a_page_of_the_admin(boss, admin_client, settings):  # noqa: F811
    settings.LANGBOT = {**settings.LANGBOT, "PUBLIC_URL": "https://host.example"}
    run = boss().run
    sub_run_id, sub_run = start(run)
    link = sub_runs.describe(call_of(run), sub_run_id)["link"]
    assert link.startswith("https://host.example/")
    page = admin_client.get(link.removeprefix("https://host.example"))
    assert page.status_code == 200
    assert page.context["original"] == sub_run.conversation
