"""Reasons that the supervisor stores, as a reader of another language sees them."""

import pytest
from django.utils import translation

from agents.packages import wording
from agents.packages.models import PackageProcess, PackageVersion


@pytest.fixture
def shouting(monkeypatch):
    """A language that repeats each text in capitals, but for what is filled in."""
    catalogue = {text: f"<{text}>" for text in wording._ALL}
    monkeypatch.setattr(wording, "gettext", lambda text: catalogue[text])


@pytest.mark.parametrize(
    "stored",
    [
        wording.ENDED % {"code": -9},
        wording.TOO_LONG % {"seconds": "600"},
        wording.NOT_UNPACKED % {"reason": "a (b) % [c]\nd"},
        wording.NO_SDK,
        wording.TOKEN_UNREADABLE,
    ],
)
def test_a_stored_reason_is_recognised_with_what_is_in_it(shouting, stored):
    assert wording.in_words(stored) == f"<{stored}>"


def test_what_nobody_wrote_down_stays_as_it_is():
    with translation.override("zh-hans"):
        assert PackageVersion(error="boom").error_in_words == "boom"
        assert PackageProcess(reason="").reason_in_words == ""
