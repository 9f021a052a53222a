"""How long a host call takes, seen from inside a runner, as the conversation grows.

Run as its own process (`python -m benchmarks.host_calls`): it starts a host of its own
on the database that DATABASE_URL names or on SQLite, and prints JSON.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.long_conversation import fill
from benchmarks.measuring_runner import PATH, RUNNER_ID

SIZES = (10**3, 10**5)
QUICK_SIZES = (10**3, 10**4)
REPEATS = 200
QUICK_REPEATS = 30
_AGENT = "measuring"


def measure(sizes: tuple[int, ...], repeats: int) -> list[dict[str, float]]:
    """Return the medians at each size."""
    from tests.support.host import RunningHost

    with RunningHost(plugins=False, variables={"LANGBOT_RUNNERS": PATH}) as host:
        token = host.plugin_token(_AGENT)
        host.start_plugins(token)
        host.wait_runner(RUNNER_ID)
        agent = host.make_agent(_AGENT, RUNNER_ID)
        return [_measured(host, agent["id"], size, repeats) for size in sizes]


def _measured(host: Any, agent: str, size: int, repeats: int) -> dict[str, float]:
    conversation = host.api("POST", "conversations/", json={})["id"]
    host.inside(fill, conversation=conversation, size=size)
    body = {"text": str(repeats), "agent": agent}
    path = f"conversations/{conversation}/messages/"
    run_id = host.api("POST", path, json=body)["run_id"]
    run = host.wait_run(run_id, timeout_seconds=120)
    assert run["status"] == "completed", run
    found = {"size": size, **json.loads(host.reply(run_id))}
    assert found["rows"] > 1, found
    assert found["hits"] > 0, found
    return found


def search_growth(times: list[dict[str, float]]) -> float:
    """Return how many times longer a search takes in the largest conversation."""
    return times[-1]["history_search"] / times[0]["history_search"]


def measure_in_process(deployment: str, *, quick: bool) -> dict[str, Any]:
    """Measure in a process of its own, on the database of the deployment."""
    command = [sys.executable, "-m", "benchmarks.host_calls"]
    command += ["--quick"] if quick else []
    environment = dict(os.environ)
    if deployment == "embedded":
        environment.pop("DATABASE_URL", None)
    done = subprocess.run(
        command,
        check=True,
        cwd=Path(__file__).resolve().parents[1],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    times = json.loads(done.stdout.splitlines()[-1])
    return {"calls": times, "search_growth": search_growth(times)}


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    quick = (QUICK_SIZES, QUICK_REPEATS)
    print(json.dumps(measure(*(quick if options.quick else (SIZES, REPEATS)))))


if __name__ == "__main__":
    main()
