"""Helpers for the tests of teams that embed the host; `plugin` has the fixtures.

Imports any app, imported by none. Nothing here touches Django before a test asks for
it, because pytest loads plugins before settings are known.
"""

import pytest

pytest.register_assert_rewrite("langbot_testing.replies")  # before its import

from langbot_testing.replies import Reply, assert_reply  # noqa: E402

__all__ = ["Reply", "assert_reply"]
