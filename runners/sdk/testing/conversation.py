"""The conversation of the host in memory: what was said, and the files of it."""

import base64
import time
from typing import Any

from runners.protocol.errors import ErrorCode
from runners.sdk.calls import HostCallError
from runners.sdk.testing.given import CONVERSATION, Given

Data = dict[str, Any]


class GivenConversation:
    """Answers what is asked about one run's conversation, its run included."""

    def __init__(self, context: Data, given: Given, results: list[Data]) -> None:
        self._context = context
        self._given = given
        self._results = results
        self._steering = list(given.get("steering", ()))

    def _history(self) -> list[Data]:
        said = [
            *self._given.get("history", ()),
            ("user", self._context["input"]["text"]),
        ]
        found: list[Data] = [
            {
                "transcript_id": str(seq),
                "event_id": f"earlier-{seq}",
                "role": role,
                "content": text,
                "seq": seq,
                "cursor": str(seq),
            }
            for seq, (role, text) in enumerate(said, 1)
        ]
        found[-1]["event_id"] = self._context["event"]["event_id"]
        return found

    def history_page(self, data: Data) -> Data:
        before, after = data["before_cursor"], data["after_cursor"]
        items = [
            item
            for item in self._history()
            if (before is None or item["seq"] < int(before))
            and (after is None or item["seq"] > int(after))
        ]
        if data["direction"] == "backward":
            items.reverse()
        page, has_more = items[: data["limit"]], len(items) > data["limit"]
        next_cursor = page[-1]["cursor"] if has_more and page else None
        return {"items": page, "has_more": has_more, "next_cursor": next_cursor}

    def history_search(self, data: Data) -> Data:
        words = data["query"].casefold().split()
        found = [
            item
            for item in reversed(self._history())
            if all(word in item["content"].casefold() for word in words)
        ]
        items = found[: data["top_k"]]
        return {"items": items, "total_count": len(found), "query": data["query"]}

    def event(self) -> Data:
        return {**self._context["event"], "conversation_id": CONVERSATION}

    def run(self) -> Data:
        run_id = self._context["run_id"]
        return {"run_id": run_id, "status": "running", "started_at": int(time.time())}

    def ledger(self) -> list[Data]:
        return [
            {"run_id": item["run_id"], "sequence": item["sequence"], **_event_of(item)}
            for item in self._results
        ]

    def steering_pull(self, data: Data) -> Data:
        count = 1 if data["mode"] != "all" else data["limit"] or len(self._steering)
        taken, self._steering = self._steering[:count], self._steering[count:]
        event = self._context["event"]
        run_id = self._context["run_id"]
        return {
            "items": [
                {"claimed_run_id": run_id, "event": event, "input": {"text": text}}
                for text in taken
            ]
        }

    def _file(self, data: Data) -> bytes:
        files = self._given.get("files", {})
        if data["artifact_id"] not in files:
            raise HostCallError(ErrorCode.NOT_FOUND, "there is no such file")
        return files[data["artifact_id"]]

    def artifact_metadata(self, data: Data) -> Data:
        name, size = data["artifact_id"], len(self._file(data))
        about = {"artifact_id": name, "name": name, "size_bytes": size}
        return {**about, "artifact_type": "file", "source": "test"}

    def artifact_read(self, data: Data) -> Data:
        content, offset = self._file(data), data["offset"]
        length = data.get("length") or data.get("limit") or 1024 * 1024
        part = content[offset : offset + length]
        return {
            "artifact_id": data["artifact_id"],
            "size_bytes": len(content),
            "offset": offset,
            "content_base64": base64.b64encode(part).decode(),
            "has_more": offset + len(part) < len(content),
        }


def _event_of(result: Data) -> Data:
    return {"type": result["type"], "data": result["data"]}
