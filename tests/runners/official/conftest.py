"""The shipped runners are tested over the same socket as every other."""

from tests.runners.sdk.conftest import connect_plugin, host

__all__ = ["connect_plugin", "host"]
