"""The tests themselves run on what they say."""

import os

from django.conf import settings
from django.db import connection

from langbot.lib.conf import conf
from langbot.lib.redis import quick_client
from tests.environment import half


def test_database_and_redis_are_those_of_this_process(workspace, agent):
    assert agent.workspace == workspace
    assert connection.vendor == ("sqlite" if "SQLite" in half() else "postgresql")
    assert quick_client().ping()
    prefix = conf().redis_prefix
    assert str(os.getpid()) in prefix
    assert str(settings.DATA_DIR) == os.environ["LANGBOT_DATA_DIR"]
