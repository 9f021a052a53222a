"""What the chat page does over HTTP: files, and approvals by signed-in people.

Approvals do not go over the chat's socket: a session counts only together with the CSRF
token of a page of ours.
"""

import json
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from artifacts.api.content import content_response
from langbot.core.authors import Author
from langbot.problems import Problem, problem_page
from platforms.chat.cards import CHAT, approvals_of, details_of, may_decide
from platforms.chat.visits import ChatError, file_of
from platforms.models import Bot
from runners.action_forms import refusal_text
from runners.actions import (
    ActionError,
    ActionExpiredError,
    ActionResolvedError,
    Decider,
    Decision,
    resolve_action,
)
from runners.models import PendingAction

_DECISIONS = ("approve", "reject")


@require_safe
def chat_file(request: HttpRequest, slug: str, address: str) -> HttpResponseBase:
    """Give the bytes of a file to the visitor who was given this address."""
    try:
        return content_response(request, file_of(slug, address))
    except ChatError:
        text = _("There is no such file here, or its address is too old.")
        return problem_page(Problem(HTTPStatus.NOT_FOUND, "not_found", text))
    except Problem as problem:
        return problem_page(problem)


@never_cache
@require_http_methods(["GET", "POST"])
def chat_action(request: HttpRequest, slug: str, id: UUID) -> HttpResponse:
    """Show what waits for approval in a chat of the bot, or decide it."""
    bots = Bot.objects.select_related("workspace").defer("secrets")
    bot = bots.filter(slug=slug, enabled=True).first()
    if bot is None or not may_decide(request.user, bot):
        return problem_page(
            Problem(
                HTTPStatus.FORBIDDEN, "permission_denied", _("This is not allowed.")
            )
        )
    action = approvals_of(bot).filter(public_id=id).first()
    if action is None:
        text = _("There is no such address.")
        return problem_page(Problem(HTTPStatus.NOT_FOUND, "not_found", text))
    if request.method == "POST":
        return _decide(request, action)
    return JsonResponse(details_of(action))


def _decide(request: HttpRequest, action: PendingAction) -> HttpResponse:
    decision = _read(request)
    if decision is None:
        text = _("The request cannot be read.")
        return problem_page(Problem(HTTPStatus.BAD_REQUEST, "bad_request", text))
    person: Any = request.user
    name = Author(person.get_username(), CHAT, may_write_secrets=False)
    decider = Decider(user=person, name=name)
    try:
        decided = resolve_action(action.public_id, decision, decider)
    except ActionError as error:
        late = isinstance(error, ActionResolvedError | ActionExpiredError)
        status = HTTPStatus.CONFLICT if late else HTTPStatus.BAD_REQUEST
        return problem_page(Problem(status, error.code, refusal_text(error)))
    return JsonResponse(details_of(decided))


def _read(request: HttpRequest) -> Decision | None:
    try:
        given = json.loads(request.body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(given, dict) or given.get("decision") not in _DECISIONS:
        return None
    return Decision(decision=given["decision"], reason=str(given.get("reason") or ""))
