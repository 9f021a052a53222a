"""What a socket carries of its runs, and how a delta is known without parsing it."""

import re
from dataclasses import dataclass, field
from uuid import UUID

from langbot.lib.conf import limits
from runners.gateway.messages import SEPARATOR

# A chunk of a run's stream as `json.dumps` writes it (wire 5, recorded frames).
_DELTA = re.compile(
    r'\{"seq_id": (\d{1,18}), "code": 0, "message": "success", '
    r'"data": \{"run_id": "[0-9a-f-]{36}", "type": "message\.delta", '
)
_CONTINUES = '}, "chunk_status": "continue"}'
NO_DELTA = -1


@dataclass(slots=True)
class RunStream:
    """A run whose results come on this socket under one request number."""

    run_id: UUID
    seq_id: int
    has_begun: bool = False
    calls: list[int] = field(default_factory=list)


@dataclass(slots=True)
class CallStream:
    """A streaming host call, and how many chunks of its answer were sent."""

    run: RunStream
    sent: int = 0


def delta_of(text: str) -> int:
    """Return the request number of what begins and ends as the SDK's deltas do.

    Otherwise -1. Nearly all messages are such, and looking at both ends takes a fifth
    of what parsing takes; the run's worker parses it.
    """
    found = _DELTA.match(text)
    if found is None or not text.endswith(_CONTINUES) or SEPARATOR in text:
        return NO_DELTA
    return NO_DELTA if len(text) > limits().claim_check_bytes else int(found[1])
