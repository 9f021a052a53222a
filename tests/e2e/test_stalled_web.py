"""A web process that stalls, as on a machine that swaps, and goes on."""

import signal

from tests.support.host_rows import connections_of

RUNNER = "plugin:langbot/echo/default"
PLUGIN = "langbot/echo"


def statuses(host):
    return [row["status"] for row in host.inside(connections_of, plugin=PLUGIN)]


def test_runners_are_online_again_when_a_stalled_web_process_goes_on(host):
    host.wait_runner(RUNNER)
    before = host.inside(connections_of, plugin=PLUGIN)
    web = host.processes.running["web"]
    web.send_signal(signal.SIGSTOP)
    try:
        # A worker gives the node up, as it must: it may as well be dead.
        host.wait_for(lambda: "online" not in statuses(host), "given up")
    finally:
        web.send_signal(signal.SIGCONT)
    host.wait_runner(RUNNER)
    ready = "/readyz?full=1"
    host.wait_for(lambda: host.client.get(ready).is_success, "ready again")
    assert host.inside(connections_of, plugin=PLUGIN) == before
    assert host.ask("hello again")["status"] == "completed"
