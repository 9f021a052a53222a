"""What people see at an address that there is not, or that fails."""

import logging
import re

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404
from django.test import Client
from django.urls import include, path

from langbot import error_pages, health
from langbot.urls import urlpatterns as own_urls

HTML = {"Accept": "text/html,application/xhtml+xml"}
handler400 = error_pages.bad_request
handler403 = error_pages.permission_denied
handler404 = error_pages.page_not_found
handler500 = error_pages.server_error


def fail(request, kind):
    errors = {
        "400": SuspiciousOperation("s3cret"),
        "403": PermissionDenied("s3cret"),
        "404": Http404("s3cret"),
        "500": RuntimeError("s3cret"),
    }
    raise errors[kind]


urlpatterns = [
    path("fails/<str:kind>/", fail),
    path("api/fails/<str:kind>/", fail),
    path("", include(own_urls)),
]


@pytest.fixture
def browser(settings):
    """A browser of somebody; every query of theirs fails: there is no `django_db`."""
    settings.ROOT_URLCONF = __name__
    return Client(headers=HTML, raise_request_exception=False)


def title_of(page):
    found = re.search(r"<title>(.*?)</title>", page)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_a_failure_is_a_page_that_needs_no_database(browser, status):
    answer = browser.get(f"/fails/{status}/")
    assert answer.status_code == status
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    page = answer.content.decode()
    assert '<html lang="en">' in page
    assert page.count("<h1>") == page.count("<main>") == 1
    assert "langbot/problem.css" in page
    assert 'href="/"' in page
    assert len(title_of(page)) > 5
    assert "s3cret" not in page
    assert "<script" not in page


def test_pages_of_failures_differ(browser):
    pages = {browser.get(f"/fails/{one}/").content for one in (400, 403, 404, 500)}
    assert len(pages) == 4


@pytest.mark.parametrize("status", [403, 404, 500])
def test_pages_speak_the_readers_language(browser, status):
    answer = browser.get(f"/fails/{status}/", headers={"Accept-Language": "zh-hans"})
    page = answer.content.decode()
    assert '<html lang="zh-hans">' in page
    assert re.search("[\u4e00-\u9fff]", title_of(page))


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_programs_get_text_and_the_api_its_problem(browser, status):
    plain = browser.get(f"/fails/{status}/", headers={"Accept": "*/*"})
    assert plain.status_code == status
    assert plain["Content-Type"] == "text/plain; charset=utf-8"
    assert "Accept" in plain["Vary"]
    assert b"<" not in plain.content
    assert b"s3cret" not in plain.content
    problem = browser.get(f"/api/fails/{status}/")
    assert problem["Content-Type"] == "application/problem+json"
    assert problem.json()["status"] == status


def test_an_unknown_address_outside_of_the_api_is_our_page():
    answer = Client(headers=HTML).get("/nowhere/at/all")
    assert answer.status_code == 404
    assert b"langbot/problem.css" in answer.content


@pytest.mark.django_db
def test_a_form_without_its_token_is_answered_by_a_page_too():
    client = Client(headers=HTML, enforce_csrf_checks=True)
    answer = client.post("/admin/login/", {"username": "a", "password": "b"})
    assert answer.status_code == 403
    assert b"langbot/problem.css" in answer.content


def test_only_our_own_project_shows_these_pages():
    """Another project's lookup of `404.html` must not find ours."""
    from django.template import TemplateDoesNotExist, loader

    for name in ("400.html", "403.html", "404.html", "500.html", "403_csrf.html"):
        with pytest.raises(TemplateDoesNotExist):
            loader.get_template(name)


def test_not_being_ready_is_no_defect(client, caplog, monkeypatch):
    monkeypatch.setattr(health, "_database", lambda: False)
    loggers = [logging.getLogger(name) for name in ("django.request", "langbot.health")]
    for logger in loggers:
        logger.addHandler(caplog.handler)
    try:
        assert client.get("/readyz").status_code == 503
    finally:
        for logger in loggers:
            logger.removeHandler(caplog.handler)
    assert {one.levelname for one in caplog.records} == {"WARNING"}
    assert "unavailable" in caplog.text
