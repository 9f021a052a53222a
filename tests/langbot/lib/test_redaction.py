import pytest

from langbot.lib.redaction import REDACTED, looks_secret, redact, redact_secrets


@pytest.mark.parametrize(
    "name",
    [
        "secret",
        "API_KEY",
        "apikey",
        "botToken",
        "password",
        "Authorization",
        "Credentials",
    ],
)
def test_secret_names_are_recognised(name):
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["name", "text", "user_id", "params", ""])
def test_other_names_are_not(name):
    assert not looks_secret(name)


def test_redact_hides_secrets_at_any_depth():
    value = {
        "user": "ann",
        "headers": [{"Authorization": "Bearer abc", "accept": "x"}],
        "credentials": {"login": "a", "pin": 1},
        "nested": ({"list": [{"api_key": "abc"}]},),
        "password": 123,
    }
    assert redact(value) == redact_secrets(value)
    assert redact(value) == {
        "user": "ann",
        "headers": [{"Authorization": REDACTED, "accept": "x"}],
        "credentials": REDACTED,
        "nested": [{"list": [{"api_key": REDACTED}]}],
        "password": REDACTED,
    }


def test_redact_keeps_counts_flags_and_blanks():
    value = {
        "total_tokens": 12,
        "prompt_tokens_details": {"cached": 4},
        "has_token": True,
        "token": None,
        "secret": "",
    }
    assert redact(value) == value
    assert redact({"tokens": "abc", "x_tokens": {"a": "b"}}) == {
        "tokens": REDACTED,
        "x_tokens": REDACTED,
    }


def test_redact_empties_inline_payloads_and_marks_them():
    value = {
        "contents": [
            {"type": "text", "text": "hi"},
            {"type": "image_base64", "image_base64": "AAAA"},
            {"type": "file_base64", "file_base64": "AAAA", "file_name": "a.txt"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ],
        "attachments": [
            {"id": "1", "content": "AAAA", "name": "a"},
            {"id": "2", "url": "https://example.com/a", "content": None},
        ],
    }
    assert redact(value) == {
        "contents": [
            {"type": "text", "text": "hi"},
            {"type": "image_base64", "image_base64": "", "content_redacted": True},
            {
                "type": "file_base64",
                "file_base64": "",
                "file_name": "a.txt",
                "content_redacted": True,
            },
            {
                "type": "image_url",
                "image_url": {
                    "url": "data:image/png;base64,",
                    "content_redacted": True,
                },
            },
        ],
        "attachments": [
            {"id": "1", "content": "", "name": "a", "content_redacted": True},
            {"id": "2", "url": "https://example.com/a", "content": None},
        ],
    }


def test_redact_keeps_the_content_of_messages_and_its_input():
    value = {"message": {"role": "user", "content": "hello"}, "image_base64": "A"}
    redacted = redact(value)
    assert redacted["message"] == {"role": "user", "content": "hello"}
    assert value["image_base64"] == "A"
    assert redact(redacted) == redacted
