"""The model of a fresh installation: works without a key, and says what it is."""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from django.utils.translation import gettext, override

from agents.resources.shapes import (
    LlmAnswer,
    LlmChunk,
    LlmRequest,
    chunk,
    message,
    usage,
)
from agents.resources.tokens import count_text, count_tokens

PIECE_CHARACTERS = 6
PIECE_SECONDS = 0.01  # visible as streaming, short enough not to annoy
QUOTED_CHARACTERS = 400
_HAN = re.compile("[\u4e00-\u9fff]")


def complete(request: LlmRequest) -> LlmAnswer:
    """Return the demo's whole answer."""
    text = reply(request)
    return {"message": message(text), "usage": _usage(request, text)}


async def stream(request: LlmRequest) -> AsyncGenerator[LlmChunk, None]:
    """Yield the demo's answer a few characters at a time, then its usage."""
    text = reply(request)
    for start in range(0, len(text), PIECE_CHARACTERS):
        end = start + PIECE_CHARACTERS
        yield chunk(text[start:end], is_final=end >= len(text))
        await asyncio.sleep(PIECE_SECONDS)
    yield {"usage": _usage(request, text)}


def reply(request: LlmRequest) -> str:
    """Return the answer, in Chinese to a Chinese message."""
    said = _last_user_text(request.messages)
    with override("zh-hans" if _HAN.search(said) else "en"):
        notice = gettext(
            "This is the offline demo model: no language model is connected, so it can "
            "only repeat you. Add a model provider in the admin for real answers."
        )
        if not said:
            return notice + " " + gettext("Your message had no text.")
        return notice + "\n\n" + gettext("You said:") + " " + _short(said)


def _short(text: str) -> str:
    if len(text) <= QUOTED_CHARACTERS:
        return text
    rest = gettext("(%(count)d more characters)") % {
        "count": len(text) - QUOTED_CHARACTERS
    }
    return f"{text[:QUOTED_CHARACTERS].rstrip()}… {rest}"


def _last_user_text(messages: Any) -> str:
    for item in reversed(list(messages)):
        if isinstance(item, Mapping) and item.get("role") == "user":
            return _text(item.get("content")).strip()
    return ""


def _text(content: Any) -> str:
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    texts = [part.get("text") for part in content if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str) and text)


def _usage(request: LlmRequest, text: str) -> dict[str, Any]:
    prompt = count_tokens(request.messages, request.funcs)
    return usage(prompt, count_text(text), estimated=True)
