"""Drives every check of every runner of a plugin."""

import time
from collections.abc import Callable, Iterator

from django.core.exceptions import ValidationError

from agents.models import RunnerDescriptor
from agents.registry.connections import online_runner_ids
from langbot.core.models import Workspace
from runners.conformance.checks import CHECKS, Check
from runners.conformance.report import (
    Finding,
    NotKept,
    NotTried,
    Report,
    Verdict,
)
from runners.conformance.subject import Plan, Subject, subject_of
from runners.errors import AdmissionError

Tell = Callable[[Finding], None]


class UnknownPluginError(LookupError):
    """Nobody has registered a plugin of this name; the message lists the others."""


def check_plugin(
    name: str, workspace: Workspace, plan: Plan, tell: Tell = lambda _: None
) -> Report:
    """Check a connected plugin, `author/name`; `tell` hears each finding at once.

    Raises UnknownPluginError.
    """
    runners = list(RunnerDescriptor.objects.filter(plugin=name, archived_at=None))
    if not runners:
        plugins = RunnerDescriptor.objects.values_list("plugin", flat=True)
        known = ", ".join(sorted(set(plugins))) or "none"
        message = f"there is no plugin {name}; there are: {known}"
        raise UnknownPluginError(message)
    report = Report(name, runners[0].version)
    online = online_runner_ids()
    for runner in runners:
        is_online = runner.runner_id in online
        for finding in _findings(runner, workspace, plan, is_online=is_online):
            report.findings.append(finding)
            tell(finding)
    return report


def _findings(
    runner: RunnerDescriptor, workspace: Workspace, plan: Plan, *, is_online: bool
) -> Iterator[Finding]:
    if not is_online:
        reason = runner.last_error or "no process serves it now"
        yield Finding(runner.runner_id, "manifest", Verdict.FAILED, reason)
        return
    place = runner.workspace or workspace
    try:
        with subject_of(runner, place, plan) as subject:
            for name, check in CHECKS.items():
                yield _made(subject, name, check)
    except ValidationError as error:
        reason = f"{'; '.join(error.messages)} Give settings with --config."
        yield Finding(runner.runner_id, "config.accepted", Verdict.FAILED, reason)


def _made(subject: Subject, name: str, check: Check) -> Finding:
    began = time.monotonic()
    try:
        verdict, detail = Verdict.PASSED, check(subject)
    except NotTried as error:
        verdict, detail = Verdict.SKIPPED, str(error)
    except (NotKept, AdmissionError) as error:
        verdict, detail = Verdict.FAILED, str(error)
    seconds = round(time.monotonic() - began, 2)
    runs = subject.take_runs()
    return Finding(subject.descriptor.runner_id, name, verdict, detail, seconds, runs)
