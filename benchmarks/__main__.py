"""`python -m benchmarks`: measure our host against the null host.

Writes `benchmarks/results/<date>-<name>.json` and exits 1 when a limit is missed.
"""

import argparse
import asyncio
import sys
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.deployments import DEPLOYMENTS
from benchmarks.load import Host
from benchmarks.measure import write_results
from benchmarks.null_host import NullHost
from benchmarks.our_host import OurHost
from benchmarks.parts import PARTS, make_plan
from benchmarks.plugins import RUNNERS, WIRE_PLUGIN
from benchmarks.report import NULL, lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part only")
    parser.add_argument(
        "--deployment",
        choices=[*DEPLOYMENTS, NULL],
        default="embedded",
        help="how our host runs; 'null' measures the null host alone",
    )
    parser.add_argument(
        "--plugin",
        choices=RUNNERS,
        default=WIRE_PLUGIN,
        help="'wire' shows what the host costs, 'sdk' what users of the SDK get",
    )
    parser.add_argument(
        "--follow",
        choices=["stream", "poll"],
        default="stream",
        help="how the end of our runs is seen",
    )
    return parser.parse_args()


def _hosts(options: argparse.Namespace) -> list[Host]:
    hosts: list[Host] = [NullHost(options.plugin)]
    if options.deployment != NULL:
        deployment = DEPLOYMENTS[options.deployment]()
        hosts.append(OurHost(deployment, options.plugin, follow=options.follow))
    return hosts


async def _measure(options: argparse.Namespace) -> dict[str, Any]:
    plan = make_plan(options.plugin, quick=options.quick)
    hosts = _hosts(options)
    results: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        for host in hosts:
            stack.push_async_callback(host.stop)
            await host.start()
        for name in options.only or PARTS:
            results[name] = await PARTS[name](hosts, plan)
            _print_part(name, results[name])
    return results


def _print_part(name: str, result: Any) -> None:
    print(f"\n{name}")
    for line in lines({name: result}):
        print(f"  {line}", flush=True)


def main() -> int:
    """Measure, print and write; return 1 when a limit is missed."""
    options = _arguments()
    results = asyncio.run(_measure(options))
    names = [options.deployment, options.plugin, *(["quick"] if options.quick else [])]
    path = write_results("-".join(names), {"options": vars(options), **results})
    print(f"\n{path.relative_to(path.parents[2])}")
    return int(any(line.kept is False for line in lines(results)))


if __name__ == "__main__":
    sys.exit(main())
