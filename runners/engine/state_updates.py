"""What a run may keep as state, and what of it is refused (LB-58)."""

from runners.engine.snapshot import RunFacts
from runners.ledger.state_store import (
    StateRefusedError,
    StateWrite,
    check_value,
    stored_key,
)
from runners.protocol.results import StateUpdated


def state_write(facts: RunFacts, data: StateUpdated) -> StateWrite:
    """Return what is to be written; raises StateRefusedError."""
    if data.scope not in facts.access.state_scopes:
        message = f"this run has no {data.scope} state"
        raise StateRefusedError(message)
    return StateWrite(
        facts.workspace_id,
        facts.runner_id,
        data.scope,
        facts.scope_keys[data.scope],
        stored_key(check_value(data.key, data.value)),
        data.value,
    )
