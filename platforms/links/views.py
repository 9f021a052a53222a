"""The page behind the link of a text message: whoever has it decides, once."""

import json
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from langbot.core.authors import Author
from langbot.lib.redaction import redact
from platforms.asking import LinkError, read_link
from runners.action_forms import (
    DecisionForm,
    add_error,
    form_for,
    read_decision,
    reason_of,
    refusal_text,
    resolution_text,
    title_of,
)
from runners.actions import (
    ActionError,
    Decider,
    DecisionInvalidError,
    resolve_action,
)
from runners.choices import ActionKind
from runners.errors import AdmissionError
from runners.models import PendingAction

LINK = "link"  # the door, as the audit log names it


@csrf_exempt  # no cookie decides anything: the address itself is the proof
@require_http_methods(["GET", "POST"])
def decide_by_link(request: HttpRequest, token: str) -> HttpResponse:
    """Show what is asked; only a POST decides."""
    try:
        action = read_link(token)
    except LinkError as error:
        return _dead(request, error)
    if request.method == "POST":
        return _decide(request, action)
    return _page(request, action)


def _decide(request: HttpRequest, action: PendingAction) -> HttpResponse:
    form = form_for(action, request.POST, by_link=True)
    decision = read_decision(form, request.POST)
    if decision is None:
        return _page(request, action, form, status=HTTPStatus.BAD_REQUEST)
    try:
        resolve_action(action.public_id, decision, _decider(request))
    except DecisionInvalidError as error:
        add_error(form, error)
        return _page(request, action, form, status=HTTPStatus.BAD_REQUEST)
    except ActionError as error:
        return _said(request, refusal_text(error), HTTPStatus.CONFLICT)
    except AdmissionError as error:
        return _said(request, str(error), HTTPStatus.CONFLICT)
    return _said(request, _("Thank you. Your decision has been passed on."))


def _decider(request: HttpRequest) -> Decider:
    person: Any = request.user
    known = person.is_authenticated
    name = person.get_username() if known else _("Somebody with the link")
    author = Author(name, LINK, may_write_secrets=False)
    return Decider(user=person if known else None, name=author)


def _page(
    request: HttpRequest,
    action: PendingAction,
    form: DecisionForm | None = None,
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    if not action.is_open:
        return _said(request, resolution_text(action))
    is_question = action.kind == ActionKind.QUESTION
    arguments = json.dumps(redact(action.arguments), indent=2, ensure_ascii=False)
    context = {
        "title": title_of(action),
        "reason": reason_of(action),
        "action": action,
        "form": form_for(action, by_link=True) if form is None else form,
        "is_question": is_question,
        "arguments": "" if is_question else arguments,
    }
    return _private(render(request, "langbot_chat/decide.html", context, status=status))


def _said(request: HttpRequest, text: str, status: int = HTTPStatus.OK) -> HttpResponse:
    context = {"title": text}
    return _private(render(request, "langbot_chat/decide.html", context, status=status))


def _dead(request: HttpRequest, error: LinkError) -> HttpResponse:
    if error.is_late:
        text = _("This link is no longer valid: its time was up.")
        return _said(request, text, HTTPStatus.GONE)
    text = _("This link is not valid. Was it copied whole?")
    return _said(request, text, HTTPStatus.NOT_FOUND)


def _private(response: HttpResponse) -> HttpResponse:
    """Keep the address, which is the key, from other sites and from search."""
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex, nofollow"
    response["Cache-Control"] = "no-store"
    return response
