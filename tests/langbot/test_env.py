"""The environment: typed, from files too, wrong values named."""

import multiprocessing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from langbot.env import kept_secret, read_environment, words


def test_nothing_is_needed():
    environment = read_environment({})
    assert (environment.host, environment.port) == ("127.0.0.1", 8000)
    assert environment.database_url == environment.redis_url == ""
    assert environment.data_dir == Path("data").resolve()


def test_a_wrong_value_names_its_variable_and_hides_nothing_else():
    with pytest.raises(ImproperlyConfigured, match="PORT"):
        read_environment({"PORT": "eighty", "SECRET_KEY": "hush"})
    with pytest.raises(ImproperlyConfigured, match="DEBUG") as error:
        read_environment({"DEBUG": "perhaps", "SECRET_KEY": "hush"})
    assert "hush" not in str(error.value)


def test_a_value_may_come_from_a_file(tmp_path):
    path = tmp_path / "key"
    path.write_text("from the file\n")
    environment = read_environment({"SECRET_KEY_FILE": str(path), "SECRET_KEY": "x"})
    assert environment.secret_key == "from the file"


def test_a_missing_file_is_an_error(tmp_path):
    path = str(tmp_path / "absent")
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY_FILE"):
        read_environment({"SECRET_KEY_FILE": path})


def test_variables_are_upper_case_only():
    assert read_environment({"port": "1"}).port == 8000


@pytest.mark.parametrize(
    ("value", "expected"), [("", []), ("a", ["a"]), (" a, ,b ,", ["a", "b"])]
)
def test_words(value, expected):
    assert words(value) == expected


def test_a_kept_secret_is_made_once(tmp_path):
    path = tmp_path / "below" / "secret.key"
    secret = kept_secret(path, "fernet")
    Fernet(secret)
    assert kept_secret(path, "fernet") == secret
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["secret.key"]


def test_processes_that_start_together_agree_on_a_secret(tmp_path):
    # A server of its own forks: a fork of this process would have its held locks.
    context = multiprocessing.get_context("forkserver")
    with context.Pool(8) as pool:
        for number in range(30):
            path = tmp_path / f"secret{number}.key"
            answers = pool.starmap(kept_secret, [(path, "django")] * 8)
            assert len(set(answers)) == 1
