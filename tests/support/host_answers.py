"""Answers to host calls without a database, for the bare host and its benchmarks."""

import time
from collections.abc import Callable
from typing import Any

Data = dict[str, Any]


class HostCallRefusedError(Exception):
    """Refuse a host call with the typed error of wire.md §2.3."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.data: Data = {
            "error": {"code": code, "message": message, "retryable": False}
        }


class HostAnswers:
    """Answer the host calls that tests and benchmarks make, at once.

    State is kept in memory; `cancel_requested` holds the ids of runs whose `run_get`
    reports a cancel request.
    """

    def __init__(self) -> None:
        self.state: dict[tuple[str, str], Any] = {}
        self.cancel_requested: set[str] = set()
        self._answers: dict[str, Callable[[Data], Data]] = {
            "state_get": self._state_get,
            "state_set": self._state_set,
            "history_page": self._history_page,
            "get_prompt": self._get_prompt,
            "run_get": self._run_get,
            "get_langbot_version": self._version,
        }

    def answer(self, action: str, data: Data) -> Data:
        """Return the reply data of one host call.

        Raises HostCallRefusedError for an action it does not know.
        """
        try:
            known = self._answers[action]
        except KeyError:
            message = f"Action {action} not found"
            raise HostCallRefusedError("action_not_found", message) from None
        return known(data)

    def _state_get(self, data: Data) -> Data:
        return {"value": self.state.get((data["scope"], data["key"]))}

    def _state_set(self, data: Data) -> Data:
        self.state[data["scope"], data["key"]] = data["value"]
        return {"success": True}

    def _history_page(self, data: Data) -> Data:
        items = [_transcript_item(2, "assistant"), _transcript_item(1, "user")]
        return {"items": items, "has_more": False, "total_count": len(items)}

    def _get_prompt(self, data: Data) -> Data:
        return {"prompt": [{"role": "system", "content": "Be brief."}]}

    def _run_get(self, data: Data) -> Data:
        run_id = data["target_run_id"]
        cancelled = run_id in self.cancel_requested
        requested_at = int(time.time()) if cancelled else None
        return {
            "run_id": run_id,
            "status": "running",
            "cancel_requested_at": requested_at,
        }

    def _version(self, data: Data) -> Data:
        return {"version": "0.1.0", "api_features": []}


def _transcript_item(seq: int, role: str) -> Data:
    return {
        "transcript_id": f"transcript-{seq}",
        "event_id": f"event-{seq}",
        "conversation_id": "conversation-1",
        "role": role,
        "item_type": "message",
        "content": f"message {seq}",
        "seq": seq,
        "cursor": str(seq),
    }
