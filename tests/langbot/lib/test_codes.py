"""Every code that this host gives has an explanation, in one table."""

import re
from pathlib import Path

import pytest

from agents.resources.errors import ModelErrorCode
from langbot.lib.codes import EXPLANATIONS, UNKNOWN, explain, visitor_texts
from runners.protocol.errors import ErrorCode

ROOT = Path(__file__).resolve().parents[3]
APPS = ("langbot", "agents", "runners", "platforms", "artifacts")
_GIVEN = re.compile(
    r"""(?:\bProblem\(\s*[\w.]+,\s*|\bcode\s*=\s*|ChatError\(\s*|FrameError\(\s*)"""
    r"""["']([a-z][a-z_.]+)["']"""
)
# What an adapter's error says when it names no code; a field's own.
_ELSEWHERE = {"failed", "required"}
_OPENAI = ROOT / "runners" / "openai"  # answers with OpenAI's own codes


def codes_in_the_source():
    """Return the codes that are written out where an error is made."""
    found: dict[str, str] = {}
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            if _OPENAI in path.parents:
                continue
            for code in _GIVEN.findall(path.read_text(encoding="utf-8")):
                found.setdefault(code, str(path.relative_to(ROOT)))
    return found


def test_every_code_of_the_source_is_explained():
    missing = {
        code: place
        for code, place in codes_in_the_source().items()
        if code not in EXPLANATIONS and code not in _ELSEWHERE
    }
    assert not missing
    assert len(codes_in_the_source()) > 15


@pytest.mark.parametrize("code", [*ErrorCode, *ModelErrorCode])
def test_every_code_of_the_protocol_is_explained(code):
    explanation = explain(str(code))
    assert explanation is not UNKNOWN
    assert str(explanation.meaning).endswith(".")
    assert str(explanation.advice).endswith((".", "?"))


def test_visitors_read_no_codes():
    texts = visitor_texts()
    assert texts[""]
    assert not [text for text in texts.values() if "runner" in text or "_" in text]


def test_a_problem_is_a_page_for_browsers_and_text_for_others(client):
    text = client.get("/problems/runner.unavailable")
    assert text["Content-Type"].startswith("text/plain")
    assert b"Start the plugin process" in text.content
    page = client.get("/problems/runner.unavailable", headers={"accept": "text/html"})
    assert b"<h1>" in page.content
    assert "Accept" in page["Vary"]


def test_an_unknown_code_is_not_found_and_escaped(client):
    address = "/problems/%3Cscript%3E"
    page = client.get(address, headers={"accept": "text/html"})
    assert page.status_code == 404
    assert b"<script>" not in page.content
    assert client.get("/problems/my.own").status_code == 404
