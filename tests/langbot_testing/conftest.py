"""The fixtures of teams; an installed wheel registers them by itself."""

from langbot_testing.plugin import (  # noqa: F401 - fixtures
    agent_factory,
    binding_factory,
    bot_factory,
    fake_runner,
    run_pending,
    send_message,
    workspace_factory,
)
