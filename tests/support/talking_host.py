"""A host whose runners people talk to in web chats of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.support import asking_runners, talking_runners
from tests.support.host import RunningHost
from tests.support.sdk_runners import PLUGIN


@contextmanager
def host_with_chats(*names: str) -> Iterator[RunningHost]:
    """Give a host with an agent and a chat of its own for each of these runners."""
    paths = (*talking_runners.PATHS, f"{asking_runners.__name__}.Questioning")
    with RunningHost(variables={"LANGBOT_RUNNERS": ",".join(paths)}) as host:
        for name in names:
            _add_chat(host, name)
        yield host


def _add_chat(host: RunningHost, name: str) -> None:
    runner = f"plugin:{PLUGIN}/{name}"
    host.wait_runner(runner)
    host.make_agent(name, runner)
    host.api("POST", "bots/", json={"slug": name, "name": name, "adapter": "web"})
    binding = {"agent": name, "scope": "bot", "scope_ref": name}
    host.api("POST", "bindings/", json=binding)
