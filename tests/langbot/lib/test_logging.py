import datetime
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from langbot.lib.logging import DailyFileHandler

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


def record(text):
    return logging.LogRecord("test", logging.INFO, "", 0, text, None, None)


@pytest.fixture
def handler(tmp_path):
    handler = DailyFileHandler(tmp_path / "logs", max_bytes=100)
    yield handler
    handler.close()


def test_nothing_is_made_before_the_first_record(handler):
    assert not handler.directory.exists()
    handler.handle(record("x"))
    assert only_file(handler.directory).read_text() == "x\n"


def test_a_full_file_is_rotated_and_five_are_kept(handler):
    for number in range(20):
        handler.handle(record(f"{number:>59}"))
    names = sorted(path.name for path in handler.directory.glob("langbot-*"))
    current = only_file(handler.directory)
    assert names == [
        current.name,
        *(f"{current.name}.{number}" for number in range(1, 6)),
    ]
    assert current.read_text().strip() == "19"
    for number in range(1, 6):
        older = current.with_name(f"{current.name}.{number}")
        assert older.read_text().strip() == str(19 - number)


def test_a_long_record_is_written_whole(handler):
    handler.handle(record("y" * 5000))
    assert only_file(handler.directory).read_text() == "y" * 5000 + "\n"


def test_the_file_changes_at_local_midnight(handler, monkeypatch):
    class Clock(datetime.date):
        now = datetime.date(2026, 3, 1)

        @classmethod
        def today(cls):
            return cls.now

    monkeypatch.setattr("langbot.lib.logging.datetime.date", Clock)
    handler.handle(record("before"))
    Clock.now = datetime.date(2026, 3, 2)
    handler.handle(record("after"))
    found = {path.name: path.read_text() for path in handler.directory.glob("*.log")}
    assert found == {
        "langbot-2026-03-01.log": "before\n",
        "langbot-2026-03-02.log": "after\n",
    }


def test_a_removed_file_is_made_again(handler):
    handler.handle(record("one"))
    only_file(handler.directory).unlink()
    handler.handle(record("two"))
    assert only_file(handler.directory).read_text() == "two\n"


WRITER = """
import logging, sys
from langbot.lib.logging import DailyFileHandler
handler = DailyFileHandler(sys.argv[1], max_bytes=20_000, backups=1000)
for number in range(2000):
    text = f"{sys.argv[2]}:{number}:" + "z" * 50
    handler.handle(logging.LogRecord("t", 20, "", 0, text, None, None))
"""


def test_processes_share_a_directory_and_lose_nothing(tmp_path):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(n)], cwd=ROOT)
        for n in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0, 0]
    files = list(tmp_path.glob("langbot-*"))
    lines = [line for path in files for line in path.read_text().splitlines()]
    assert all(line.endswith(":" + "z" * 50) for line in lines)
    wrote = {line.rsplit(":", 1)[0] for line in lines}
    assert wrote == {f"{n}:{number}" for n in range(4) for number in range(2000)}
    assert len(lines) == 8000
    assert max(path.stat().st_size for path in files) < 21_000
