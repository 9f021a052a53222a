"""Reads OpenAI-compatible answers, whole or in pieces, into the shapes of the wire.

Servers that call themselves compatible differ in what they leave out, so everything
is read from plain JSON and nothing but the text is taken for granted.
"""

import json
from collections.abc import Mapping
from typing import Any

from agents.resources.errors import ModelError, ModelErrorCode
from agents.resources.shapes import LlmAnswer, LlmChunk, chunk, message, usage
from agents.resources.thinking import ThinkFilter
from agents.resources.tokens import count_text
from langbot.lib.ids import uuid7

_CALL_KEYS = frozenset({"id", "type", "index", "function"})
_VISIBLE_REASONING = frozenset({None, "reasoning.text", "reasoning.summary"})  # AG-57


def read_answer(data: Any, *, prompt_tokens: int, remove_think: bool) -> LlmAnswer:
    """Return a whole answer; `prompt_tokens` counts where the provider does not.

    Raises ModelError when this is not a chat completion.
    """
    choice = _first(_mapping(data).get("choices"))
    said = _mapping(choice.get("message"))
    if not said:
        raise not_a_completion()
    visible = ThinkFilter(enabled=remove_think)
    text = _text(said)
    content = visible.feed(text) + visible.end()
    reasoning = "" if remove_think else reasoning_text(said)
    calls = [
        part for call in _mappings(said.get("tool_calls")) for part in [_whole(call)]
    ]
    answer = message(
        content if content or not calls else None,
        tool_calls=calls,
        message_id=_string(data.get("id")) or None,
        reasoning=reasoning,
    )
    counted = count_text(text) + sum(_call_tokens(call) for call in calls)
    return {
        "message": answer,
        "usage": read_usage(data.get("usage"), prompt_tokens, counted),
    }


class StreamReader:
    """Turns the chunks of one stream into wire chunks; feed it in order.

    `is_complete` is true once the provider said why it stopped.
    """

    def __init__(self, *, prompt_tokens: int, remove_think: bool) -> None:
        self.is_complete = False
        self._prompt_tokens = prompt_tokens
        self._completion_tokens = 0
        self._remove_think = remove_think
        self._visible = ThinkFilter(enabled=remove_think)
        self._usage: Any = None
        self._message_id: str | None = None
        self._calls: dict[Any, tuple[str, str]] = {}
        self._ids: dict[str, str] = {}

    def feed(self, data: Any) -> LlmChunk | None:
        """Return what is new, or None for a chunk that says nothing."""
        data = _mapping(data)
        self._usage = data.get("usage") or self._usage
        self._message_id = self._message_id or _string(data.get("id")) or None
        choice = _first(data.get("choices"))
        delta = _mapping(choice.get("delta"))
        text = _text(delta)
        content = self._visible.feed(text) if text else ""
        calls = [self._call(call) for call in _mappings(delta.get("tool_calls"))]
        reasoning = "" if self._remove_think else reasoning_text(delta)
        is_final = bool(choice.get("finish_reason")) and not self.is_complete
        if is_final:
            self.is_complete = True
            content += self._visible.end()
        self._completion_tokens += count_text(text) + sum(map(_call_tokens, calls))
        if not (content or calls or reasoning or is_final):
            return None
        return chunk(
            content or None,
            tool_calls=calls,
            message_id=self._message_id,
            reasoning=reasoning,
            is_final=is_final,
        )

    def usage(self) -> dict[str, Any]:
        """Return the provider's numbers, or an estimate marked as one."""
        return read_usage(self._usage, self._prompt_tokens, self._completion_tokens)

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Return one part of a tool call with the id and name of its first part.

        Only the first part carries them upstream; wire parts need both. Some servers
        number every parallel call 0, so a new id starts a new call.
        """
        index, given = call.get("index"), _string(call.get("id"))
        function = _mapping(call.get("function"))
        name = _string(function.get("name"))
        if given and given in self._ids:
            call_id, name = given, self._ids[given]
        elif given or index not in self._calls:
            call_id = given or f"call_{uuid7().hex}"
            self._ids[call_id] = name
        else:
            call_id, known = self._calls[index]
            name = known or name
        self._calls[index] = (call_id, name)
        return _tool_call(call, call_id, name)


def reasoning_text(said: Mapping[str, Any]) -> str:
    """Return the reasoning that may be shown (AG-57)."""
    for key in ("reasoning", "reasoning_content"):
        value = said.get(key)
        if isinstance(value, str) and value:
            return value
    return "".join(
        _string(detail.get("text")) or _string(detail.get("summary"))
        for detail in _mappings(said.get("reasoning_details"))
        if detail.get("type") in _VISIBLE_REASONING
    )


def read_usage(data: Any, prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    """Return the provider's usage with its extras, or an estimate marked as one."""
    given = {key: value for key, value in _mapping(data).items() if value is not None}
    prompt, completion = given.get("prompt_tokens"), given.get("completion_tokens")
    if not (isinstance(prompt, int) and isinstance(completion, int)):
        return usage(prompt_tokens, completion_tokens, estimated=True)
    return {**usage(prompt, completion), **given}


def not_a_completion() -> ModelError:
    """Return the error for an answer that is something else than a completion."""
    text = "the provider's answer is not a chat completion; check its base URL"
    return ModelError(ModelErrorCode.BAD_RESPONSE, text)


def _whole(call: Mapping[str, Any]) -> dict[str, Any]:
    name = _string(_mapping(call.get("function")).get("name"))
    return _tool_call(call, _string(call.get("id")) or f"call_{uuid7().hex}", name)


def _tool_call(call: Mapping[str, Any], call_id: str, name: str) -> dict[str, Any]:
    arguments = _mapping(call.get("function")).get("arguments")
    if arguments is not None and not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    # What a provider wants to see again with the call, such as a thought signature.
    extra = {key: value for key, value in call.items() if key not in _CALL_KEYS}
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments or ""},
        "provider_specific_fields": extra or None,
    }


def _call_tokens(call: Mapping[str, Any]) -> int:
    return count_text(call["function"]["arguments"])


def _text(said: Mapping[str, Any]) -> str:
    content = said.get("content")
    if isinstance(content, list):
        return "".join(_string(part.get("text")) for part in _mappings(content))
    return _string(content) or _string(said.get("refusal"))


def _first(items: Any) -> Mapping[str, Any]:
    return next(iter(_mappings(items)), {})


def _mappings(items: Any) -> list[Mapping[str, Any]]:
    if not isinstance(items, list):
        return []
    return [item for item in items if isinstance(item, Mapping)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
