"""Where platforms call in, and the chat page."""

import math
from http import HTTPStatus
from typing import Any

from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from langbot.lib.conf import limits
from langbot.problems import Problem, as_problem, problem_page
from platforms import throttle
from platforms.adapters import registry
from platforms.adapters.base import AdapterError, PlatformRequest
from platforms.chat.cards import may_decide
from platforms.chat.strings import chat_strings
from platforms.intake import receive
from platforms.models import Bot
from runners.answers import answer_for
from runners.errors import AdmissionError

BODY_BYTES = 1024 * 1024
CALLS_PER_MINUTE = 3000  # of one bot
_STATUS = {
    "signature_invalid": HTTPStatus.UNAUTHORIZED,
    "invalid_body": HTTPStatus.BAD_REQUEST,
    "not_found": HTTPStatus.NOT_FOUND,
    "queue_full": HTTPStatus.TOO_MANY_REQUESTS,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "quota_exceeded": HTTPStatus.TOO_MANY_REQUESTS,
    "input_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "agent_unavailable": HTTPStatus.CONFLICT,
    "conversation_busy": HTTPStatus.CONFLICT,
}
_QUEUE_SECONDS = 10  # a turn is likely over by then


@csrf_exempt  # the body's signature is the proof
@require_POST
def receive_webhook(request: HttpRequest, slug: str) -> HttpResponse:
    """Verify, admit and answer 202; every error is a problem document."""
    try:
        return JsonResponse(_admit(request, slug), status=HTTPStatus.ACCEPTED)
    except (AdapterError, AdmissionError) as error:
        return problem_page(_problem(error))
    except (Problem, DatabaseError, Http404) as error:
        problem = as_problem(error)
        if problem is None:
            raise
        return problem_page(problem)


@require_GET
@never_cache
def chat_page(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the chat of a web bot."""
    bot = _enabled_bot(slug)
    if bot.adapter != "web":
        raise Http404
    page = {
        "socket": f"{_prefix(request, bot)}ws/chat/{bot.slug}/",
        "storage": f"langbot-chat-{bot.public_id}",
        "files": f"{request.path}files/",
        "maximum": limits().follow_up_characters,
        "strings": chat_strings(),
        "decides": _decides(request, bot),
    }
    title = str(bot.config.get("title") or bot.name)
    greeting = str(bot.config.get("greeting") or "")
    context = {"page": page, "title": title, "greeting": greeting}
    return render(request, "langbot_chat/page.html", context)


def _decides(request: HttpRequest, bot: Bot) -> dict[str, str] | None:
    """Return what a page needs whose reader may approve tool calls; None for others.

    Visitors without a session cost no query and get no cookie.
    """
    if not may_decide(request.user, bot):
        return None
    there = f"{_prefix(request, bot)}chat/{bot.slug}/actions/"
    return {"address": there, "csrf": get_token(request)}


def _prefix(request: HttpRequest, bot: Bot) -> str:
    """Return where a project has put our addresses, sockets included."""
    return request.path.removesuffix(f"chat/{bot.slug}/")


def _admit(request: HttpRequest, slug: str) -> dict[str, Any]:
    bot = _enabled_bot(slug)
    adapter = registry.get(bot.adapter)
    if not adapter.has_webhook:
        raise Http404
    events = adapter.parse(PlatformRequest(request.headers, _body(request)), bot)
    _throttle(bot)
    answers = []
    for event in events:
        admitted = receive(bot, event)
        duplicate = admitted.status == "duplicate"
        named = {"event_id": event.event_id, "duplicate": duplicate}
        answers.append(answer_for(admitted) | named)
    return answers[0] if len(answers) == 1 else {"results": answers}


def _enabled_bot(slug: str) -> Bot:
    bots = Bot.objects.select_related("workspace").filter(slug=slug, enabled=True)
    bot = bots.first()
    if bot is None or bot.adapter not in dict(registry.choices()):
        raise Http404
    return bot


def _body(request: HttpRequest) -> bytes:
    body: bytes = request.read(BODY_BYTES + 1)
    if len(body) > BODY_BYTES:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too_large",
            _("The request body is too large."),
        )
    return body


def _throttle(bot: Bot) -> None:
    wait = throttle.seconds_to_wait(f"bot:{bot.public_id}", CALLS_PER_MINUTE, 60)
    if wait:
        raise Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "rate_limited",
            _("This bot gets too many calls."),
            retry_after=math.ceil(wait),
        )


def _problem(error: AdapterError | AdmissionError) -> Problem:
    status = _STATUS.get(error.code, HTTPStatus.BAD_REQUEST)
    wait = _QUEUE_SECONDS if error.code == "queue_full" else None
    if isinstance(error, AdmissionError):
        wait = error.retry_after or wait
    return Problem(status, error.code, str(error), retry_after=wait)
