"""Why a build or a process of a package ended: stored in English, read in any language.

The supervisor has no reader, so it stores plain text; pages translate it.
"""

import re
from functools import cache

from django.utils.translation import gettext, gettext_noop

TOKEN_UNREADABLE = gettext_noop("its token cannot be read; give it another one")
ENDED = gettext_noop("ended with exit code %(code)s")
NOT_STARTED = gettext_noop("cannot be started: %(reason)s")
NOT_UNPACKED = gettext_noop("cannot be unpacked: %(reason)s")
REMOVED = gettext_noop("the plugin was removed")
TOO_LONG = gettext_noop("the build took longer than %(seconds)s s")
BUILD_ENDED = gettext_noop("the build ended with exit code %(code)s")
NO_SDK = gettext_noop("the SDK brought no program lbp")
HOST_FAILED = gettext_noop("the host failed: %(reason)s")

_ALL = (
    TOKEN_UNREADABLE,
    ENDED,
    NOT_STARTED,
    NOT_UNPACKED,
    REMOVED,
    TOO_LONG,
    BUILD_ENDED,
    NO_SDK,
    HOST_FAILED,
)
_NAMED = re.compile(r"%\\\((\w+)\\\)s")


def in_words(stored: str) -> str:
    """Return a stored reason in the reader's language; unknown ones as they are."""
    for text in _ALL:
        found = _pattern(text).fullmatch(stored)
        if found is not None:
            return gettext(text) % found.groupdict()
    return stored


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(_NAMED.sub(r"(?P<\1>.*)", re.escape(text)), re.DOTALL)
