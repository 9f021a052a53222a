"""Tries a connected plugin through the runner protocol and prints what it found."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from langbot.core.management.workspaces import find_workspace
from runners.conformance.kit import UnknownPluginError, check_plugin
from runners.conformance.report import Finding, Report
from runners.conformance.subject import Plan

NOT_CONFORMING = 1
DEFAULT = Plan()


class Command(BaseCommand):
    help = (
        "Tries a connected plugin through the runner protocol, by dry runs. Ends with "
        "code 1 when a check failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("plugin", metavar="AUTHOR/NAME")
        parser.add_argument("--workspace", default="default", help="its slug")
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--config", default="{}", help="the runner's settings, a JSON object"
        )
        parser.add_argument("--message", default=DEFAULT.message, help="what to say")
        parser.add_argument(
            "--slow-message",
            default="",
            help="what to say so that a run lasts: needed to try cancel and deadline",
        )
        parser.add_argument(
            "--seconds", type=float, default=DEFAULT.seconds, help="patience with a run"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        plan = Plan(
            message=options["message"],
            slow_message=options["slow_message"],
            config=_settings(options["config"]),
            seconds=options["seconds"],
        )
        workspace = find_workspace(options["workspace"])
        tell = (lambda _: None) if options["json"] else self._tell
        try:
            report = check_plugin(options["plugin"], workspace, plan, tell)
        except UnknownPluginError as error:
            raise CommandError(str(error)) from None
        self._sum_up(report, as_json=options["json"])
        if not report.conforms:
            sys.exit(NOT_CONFORMING)

    def _tell(self, finding: Finding) -> None:
        verdict = f"{finding.verdict.value:8}"
        seconds = f"{finding.seconds:6.2f} s"
        name = finding.runner.rpartition("/")[2]
        line = f"{verdict} {seconds}  {name}  {finding.check}"
        self.stdout.write(f"{line}: {finding.detail}" if finding.detail else line)

    def _sum_up(self, report: Report, *, as_json: bool) -> None:
        if as_json:
            content = json.dumps(report.as_dict(), indent=2, ensure_ascii=False)
            self.stdout.write(content)
            return
        counts = ", ".join(f"{count} {name}" for name, count in report.counts().items())
        word = "conforms" if report.conforms else "does not conform"
        self.stdout.write(f"{report.plugin} {report.version} {word}: {counts}.")


def _settings(text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise CommandError(f"--config is no JSON: {error}") from None
    if not isinstance(settings, dict):
        raise CommandError("--config has to be a JSON object")
    return settings
