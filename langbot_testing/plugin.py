"""The fixtures. The wheel registers them with pytest (entry point `pytest11`).

They need pytest-django, no worker, no Redis and no plugin process. A fixture of the
same name in a team's `conftest.py` takes precedence.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from langbot_testing.fake_runner import FakeRunner
    from langbot_testing.replies import Reply


@pytest.fixture
def fake_runner(db: None, settings: Any) -> "Iterator[FakeRunner]":
    """Answers every run inline, at the commit of what starts it.

    A test that starts runs in the transaction pytest-django rolls back calls
    `run_pending()`, or uses `send_message`, which does.
    """
    from langbot_testing.fake_runner import FakeRunner
    from langbot_testing.inline import carried_by

    given = getattr(settings, "LANGBOT", {})
    settings.LANGBOT = {**given, "CELERY_APP": "langbot_testing.inline.inline_celery"}
    runner = FakeRunner()
    with carried_by(runner):
        yield runner


@pytest.fixture
def run_pending(fake_runner: "FakeRunner") -> Callable[[], int]:
    """Carry every queued run to its end; returns how many there were."""
    from langbot_testing import inline

    return partial(inline.run_pending, fake_runner)


@pytest.fixture
def send_message(
    fake_runner: "FakeRunner", django_capture_on_commit_callbacks: Any
) -> "Callable[..., Reply]":
    """Say something and return the reply: `send_message(text, agent=…, …)`.

    Named arguments are those of `runners.public.dispatch_event`. Without `agent` the
    bindings choose, as for a message of a platform.
    """
    from langbot_testing.sending import send

    return partial(send, fake_runner, django_capture_on_commit_callbacks)


@pytest.fixture
def workspace_factory(db: None) -> Callable[..., Any]:
    """See `langbot_testing.factories.make_workspace`."""
    from langbot_testing.factories import make_workspace

    return make_workspace


@pytest.fixture
def agent_factory(db: None) -> Callable[..., Any]:
    """See `langbot_testing.factories.make_agent`."""
    from langbot_testing.factories import make_agent

    return make_agent


@pytest.fixture
def binding_factory(db: None) -> Callable[..., Any]:
    """See `langbot_testing.factories.make_binding`."""
    from langbot_testing.factories import make_binding

    return make_binding


@pytest.fixture
def bot_factory(db: None) -> Callable[..., Any]:
    """See `langbot_testing.factories.make_bot`."""
    from langbot_testing.factories import make_bot

    return make_bot
