"""What an admin should know about an agent's approval policy."""

from django.utils.translation import gettext as _

from agents.models import Agent, RunnerDescriptor
from agents.policies import ApprovalPolicy


def approval_warnings(agent: Agent) -> list[str]:
    """Return what may surprise whoever saves this valid agent (C-32).

    Empty where nobody is asked.
    """
    policy = ApprovalPolicy.model_validate(agent.approval_policy or {})
    if not policy.enabled:
        return []
    found = []
    if both := policy.in_two_lists():
        text = _(
            "In more than one list of tools, the first of “never”, “run”, “ask” "
            "counts: %s"
        )
        found.append(text % ", ".join(both))
    if policy.mode == "default" and not _can_resume(agent):
        found.append(
            _(
                "This runner cannot go on after a long wait: a run that nobody decides "
                "about within 150 seconds fails."
            )
        )
    return found


def _can_resume(agent: Agent) -> bool:
    runner = RunnerDescriptor.objects.filter(runner_id=agent.runner_id).first()
    return runner is None or bool(runner.capabilities.get("resume"))
