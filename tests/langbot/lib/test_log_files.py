"""A log file per local day, that several processes may write to."""

import datetime
import subprocess
import sys
from pathlib import Path

import pytest

from langbot.lib.log_files import DailyFile

ROOT = Path(__file__).resolve().parents[3]


def only_file(directory):
    today = datetime.datetime.now().astimezone().date()
    return directory / f"langbot-{today:%Y-%m-%d}.log"


def write(file, text):
    file.write(f"{text}\n".encode())


@pytest.fixture
def file(tmp_path):
    file = DailyFile(tmp_path / "logs", max_bytes=100)
    yield file
    file.close()


def test_nothing_is_made_before_the_first_record(file):
    assert not file.directory.exists()
    write(file, "x")
    assert only_file(file.directory).read_text() == "x\n"


def test_a_full_file_is_rotated_and_five_are_kept(file):
    for number in range(20):
        write(file, f"{number:>59}")
    names = sorted(path.name for path in file.directory.glob("langbot-*"))
    current = only_file(file.directory)
    assert names == [
        current.name,
        *(f"{current.name}.{number}" for number in range(1, 6)),
    ]
    assert current.read_text().strip() == "19"
    for number in range(1, 6):
        older = current.with_name(f"{current.name}.{number}")
        assert older.read_text().strip() == str(19 - number)


def test_a_long_record_is_written_whole(file):
    write(file, "y" * 5000)
    assert only_file(file.directory).read_text() == "y" * 5000 + "\n"


def test_the_file_changes_at_local_midnight(file, monkeypatch):
    class Clock(datetime.date):
        now = datetime.date(2026, 3, 1)

        @classmethod
        def today(cls):
            return cls.now

    monkeypatch.setattr("langbot.lib.log_files.datetime.date", Clock)
    write(file, "before")
    Clock.now = datetime.date(2026, 3, 2)
    write(file, "after")
    found = {path.name: path.read_text() for path in file.directory.glob("*.log")}
    assert found == {
        "langbot-2026-03-01.log": "before\n",
        "langbot-2026-03-02.log": "after\n",
    }


def test_a_removed_file_is_made_again(file):
    write(file, "one")
    only_file(file.directory).unlink()
    write(file, "two")
    assert only_file(file.directory).read_text() == "two\n"


WRITER = r"""
import sys
from langbot.lib.log_files import DailyFile
file = DailyFile(sys.argv[1], max_bytes=20_000, backups=1000)
for number in range(2000):
    text = f"{sys.argv[2]}:{number}:" + "z" * 50
    file.write(f"{text}\n".encode())
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


def test_names_have_files_of_their_own(tmp_path):
    for name in ("langbot", "plugins"):
        write(DailyFile(tmp_path, name), name)
    found = {path.name[:7]: path.read_text() for path in tmp_path.glob("*.log")}
    assert found == {"langbot": "langbot\n", "plugins": "plugins\n"}
