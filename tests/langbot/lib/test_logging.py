import datetime
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
import logging, logging.config, sys, structlog
from langbot.lib.logging import logging_config
config = logging_config(level="info", json={json}, directory=sys.argv[1])
logging.config.dictConfig(config)
structlog.contextvars.bind_contextvars(request_id="r-1", run_id="u-2")
{body}
"""


def run(directory, body, *, json_lines=True):
    program = PROGRAM.format(json=json_lines, body=body)
    return subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def only_file(directory):
    today = datetime.datetime.now().astimezone().date()
    return directory / f"langbot-{today:%Y-%m-%d}.log"


LOG_BOTH = """
structlog.get_logger("ours").info("run started", agent="echo", api_key="abc-1")
logging.getLogger("theirs").warning("slow %s", "query", extra={"user_id": 7})
logging.getLogger("theirs").debug("hidden")
"""


def test_both_kinds_of_logger_write_json_with_context(tmp_path):
    result = run(tmp_path / "logs", LOG_BOTH)
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    in_file = only_file(tmp_path / "logs").read_text().splitlines()
    assert [json.loads(line) for line in in_file] == lines
    assert [line["event"] for line in lines] == ["run started", "slow query"]
    assert lines[0]["agent"] == "echo"
    assert lines[0]["logger"] == "ours"
    assert lines[1]["user_id"] == 7
    for line in lines:
        assert (line["request_id"], line["run_id"]) == ("r-1", "u-2")
        assert line["timestamp"].endswith("Z")
    assert result.stdout == ""


def test_console_output_is_for_people(tmp_path):
    result = run(tmp_path, LOG_BOTH, json_lines=False)
    assert "run started" in result.stderr
    assert not result.stderr.startswith("{")
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("json_lines", [True, False])
def test_secrets_are_not_logged(tmp_path, json_lines):
    body = """
log = structlog.get_logger("ours")
log.info("a", api_key="s3cr3t", headers={"Authorization": "s3cr3t"})
log.info("b", deep=[{"password": "s3cr3t", "name": "visible"}])
logging.getLogger("theirs").warning("c", extra={"bot_token": "s3cr3t"})
"""
    result = run(tmp_path, body, json_lines=json_lines)
    written = result.stderr + only_file(tmp_path).read_text()
    assert "s3cr3t" not in written
    assert written.count("visible") == 2


@pytest.mark.parametrize("json_lines", [True, False])
def test_tracebacks_show_no_locals(tmp_path, json_lines):
    body = """
import rich  # a renderer with locals is installed, and not used
def fail(hidden):
    raise ValueError("visible")
try:
    fail("s3cr" + "3t")
except ValueError:
    structlog.get_logger("ours").exception("first")
    logging.getLogger("theirs").exception("second")
"""
    result = run(tmp_path, body, json_lines=json_lines)
    for written in (result.stderr, only_file(tmp_path).read_text()):
        assert written.count("ValueError: visible") == 2
        assert written.count("Traceback") == 2
        assert "s3cr3t" not in written


LOG_ANSWERS = """
from django.http import HttpResponse, HttpRequest
from django.utils.log import log_response
for status in (404, 429, 500):
    log_response("%s", status, response=HttpResponse(status=status), request=None)
"""


def test_mistakes_of_callers_are_no_warnings(tmp_path):
    prelude = "import django.conf; django.conf.settings.configure()\n"
    result = run(tmp_path, prelude + LOG_ANSWERS)
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [("error", "500")]
