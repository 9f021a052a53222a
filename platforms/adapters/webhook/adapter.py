"""The generic signed webhook: any system that can sign a POST is a platform."""

import json
from typing import TYPE_CHECKING, Any, ClassVar

import httpx2
from django.utils.translation import gettext_lazy as _
from pydantic import ValidationError

from langbot.lib.http import OutboundRefused, check_url, guarded_client
from langbot.lib.text import storable
from platforms.adapters.base import (
    Adapter,
    AdapterError,
    PlatformEvent,
    PlatformRequest,
    SendResult,
)
from platforms.adapters.webhook.body import WebhookBody, problem_of
from platforms.adapters.webhook.signing import signed_headers, verified_id
from platforms.events import has_id, scoped_event_id

if TYPE_CHECKING:
    from platforms.models import Bot
    from runners.models import Delivery

SEND_SECONDS = 8.0  # a worker that shuts down waits 10 s for what is under way
TOTAL_SECONDS = 30.0  # for a receiver that answers drop by drop
_RETRYABLE = frozenset({408, 425, 429})
_BEFORE_SENDING = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class WebhookAdapter(Adapter):
    """Signed JSON in, signed JSON out; receivers deduplicate by `webhook-id`."""

    kind = "webhook"
    label = _("Webhook")
    config_schema: ClassVar = [
        {
            "name": "url",
            "type": "string",
            "label": {"en_US": "Reply address", "zh_Hans": "回复地址"},
            "description": {
                "en_US": "Replies are posted here; empty means they are not sent.",
                "zh_Hans": "回复会发送到此地址；留空则不发送。",
            },
            "default": "",
        },
        {
            "name": "secret",
            "type": "secret",
            "label": {"en_US": "Signing secret", "zh_Hans": "签名密钥"},
            "description": {
                "en_US": "Signs both directions; whsec_… is read as base64.",
                "zh_Hans": "用于双向签名；whsec_… 按 base64 读取。",
            },
            "required": True,
        },
    ]
    deduplicates = True
    has_webhook = True

    def parse(self, request: PlatformRequest, bot: "Bot") -> list[PlatformEvent]:
        """Return the one event of a call whose signature holds."""
        call_id = verified_id(_secret(bot), request.headers, request.body)
        body = _read(request.body)
        return [
            PlatformEvent(
                event_id=_event_id(bot, body, call_id),
                type=body.type,
                conversation=body.conversation,
                thread=body.thread,
                actor=body.actor.model_dump(),
                input={
                    "text": body.full_text,
                    "contents": body.contents,
                    "attachments": body.attachments,
                },
                data=body.data,
                reply_target={"message_id": body.message_id or call_id},
                params=body.params,
            )
        ]

    def check(self, bot: "Bot") -> None:
        """Refuse a reply address that no reply could be sent to now."""
        url = str(bot.config.get("url") or "")
        try:
            if url:
                check_url(url)
        except (OutboundRefused, httpx2.InvalidURL, httpx2.ConnectError) as error:
            raise AdapterError(str(error)) from None

    def send(self, bot: "Bot", delivery: "Delivery") -> SendResult:
        """POST the payload; `webhook-id` stays the same over all attempts."""
        url = str(bot.config.get("url") or "")
        if not url:
            raise AdapterError("the bot has no reply address", permanent=True)
        body = json.dumps(
            {"type": "message.sent", **delivery.payload}, ensure_ascii=False
        ).encode()
        headers = signed_headers(_secret(bot), str(delivery.idempotency_key), body)
        return _judge(_post(url, body, headers))


def _secret(bot: "Bot") -> str:
    return str((bot.secrets or {}).get("secret") or "")


def _read(body: bytes) -> WebhookBody:
    try:
        return WebhookBody.model_validate(storable(json.loads(body)))
    except ValidationError as error:
        raise AdapterError(
            problem_of(error), permanent=True, code="invalid_body"
        ) from None
    except (ValueError, RecursionError):
        raise AdapterError(
            "the body is not JSON", permanent=True, code="invalid_body"
        ) from None


def _event_id(bot: "Bot", body: WebhookBody, call_id: str) -> str:
    if not has_id(body.message_id):
        return scoped_event_id("webhook", str(bot.public_id), call_id)
    # LB-05: an id of the platform is unique only where it was said.
    return scoped_event_id(
        "webhook",
        str(bot.public_id),
        body.conversation,
        body.thread,
        body.actor.id,
        body.message_id,
    )


def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """Return the status code of the answer, whose body nobody reads."""
    options: dict[str, Any] = {"content": body, "headers": headers}
    options["headers"]["content-type"] = "application/json"
    try:
        with (
            guarded_client(timeout=SEND_SECONDS, total_seconds=TOTAL_SECONDS) as client,
            client.stream("POST", url, **options) as response,
        ):
            return response.status_code
    except (OutboundRefused, httpx2.InvalidURL) as error:
        raise AdapterError(str(error), permanent=True) from None
    except _BEFORE_SENDING as error:
        raise AdapterError(f"no connection ({type(error).__name__})") from None
    except (httpx2.HTTPError, OSError) as error:
        message = f"no answer ({type(error).__name__})"
        raise AdapterError(message, ambiguous=True) from None


def _judge(status: int) -> SendResult:
    if httpx2.codes.is_success(status):
        return SendResult(status_code=status)
    again = status in _RETRYABLE or httpx2.codes.is_server_error(status)
    raise AdapterError(
        f"the receiver answered {status}", permanent=not again, status_code=status
    )
