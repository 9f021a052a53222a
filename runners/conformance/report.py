"""What the kit found, as rows that people and programs read."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class NotKept(Exception):  # noqa: N818  # a finding, not an error of ours
    """The plugin did not do what the protocol says; the message says what."""


class NotTried(Exception):  # noqa: N818  # a finding, not an error of ours
    """The check does not apply here; the message says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one runner; `runs` are the dry runs that show it."""

    runner: str
    check: str
    verdict: Verdict
    detail: str = ""
    seconds: float = 0.0
    runs: list[UUID] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """All findings about one plugin. It conforms when none of them failed."""

    plugin: str
    version: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def conforms(self) -> bool:
        return all(one.verdict != Verdict.FAILED for one in self.findings)

    def counts(self) -> dict[str, int]:
        return {
            verdict.value: sum(one.verdict == verdict for one in self.findings)
            for verdict in Verdict
        }

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; run ids are texts."""
        findings = [
            {
                **asdict(one),
                "verdict": one.verdict.value,
                "runs": list(map(str, one.runs)),
            }
            for one in self.findings
        ]
        return {
            "plugin": self.plugin,
            "version": self.version,
            "conforms": self.conforms,
            "counts": self.counts(),
            "findings": findings,
        }
