"""What the project answers where a request fails: a page, a text, or a problem.

Only our own URLs and settings name these handlers: a project that embeds the apps has
its own. Nothing here asks the database, which may be what failed.
"""

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template import loader
from django.urls import get_script_prefix
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _

from langbot.problems import Problem, as_problem, problem_page


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's `handler400`."""
    if _is_api(request):
        fallback = Problem(400, "bad_request", _("The request cannot be read."))
        return problem_page(as_problem(exception) or fallback)
    advice = _("Go back, and try it once more.")
    return _page(request, 400, _("The request cannot be read."), advice)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's `handler403`."""
    if _is_api(request):
        return problem_page(
            Problem(403, "permission_denied", _("This is not allowed."))
        )
    advice = _("Ask an admin of your workspace, or sign in as somebody who may.")
    return _page(request, 403, _("This is not allowed."), advice)


def form_refused(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Django's `CSRF_FAILURE_VIEW`."""
    if _is_api(request):
        return problem_page(
            Problem(403, "permission_denied", _("This is not allowed."))
        )
    advice = _("Load the page again, then send the form once more.")
    return _page(request, 403, _("This form is out of date."), advice)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's `handler404`."""
    if _is_api(request):
        return problem_page(Problem(404, "not_found", _("There is no such address.")))
    advice = _("Check the address, or go on from the start page.")
    return _page(request, 404, _("There is no such address."), advice)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django's `handler500`; says nothing about the cause."""
    title = _("The server met a defect; it has been logged.")
    if _is_api(request):
        return problem_page(Problem(500, "server_error", title))
    advice = _("Try again soon. If it stays so, tell who runs this host.")
    return _page(request, 500, title, advice)


def _is_api(request: HttpRequest) -> bool:
    return "/api/" in request.path


def _page(request: HttpRequest, status: int, title: str, advice: str) -> HttpResponse:
    """Answer a page to browsers, plain text to everyone else."""
    if "text/html" in request.headers.get("Accept", ""):
        # Without the request: its context processors would load the person.
        context = {"title": title, "advice": advice, "home": get_script_prefix()}
        page = loader.render_to_string("langbot/error.html", context)
        response = HttpResponse(page, status=status)
    else:
        text = f"{status} {HTTPStatus(status).phrase}\n{title}\n{advice}\n"
        kind = "text/plain; charset=utf-8"
        response = HttpResponse(text, content_type=kind, status=status)
    patch_vary_headers(response, ["Accept"])
    return response
