"""The project's settings on a test process's own database, data folder and Redis."""

import json
import os

from tests.environment import ENVIRONMENT, PREFIX

ENVIRONMENT.start()

# Only now: settings read the environment while they are imported.
from langbot.settings import *  # noqa: E402, F403
from langbot.settings import (  # noqa: E402
    CACHES,
    INSTALLED_APPS,
    LANGBOT,
    REST_FRAMEWORK,
)

LANGBOT["REDIS_PREFIX"] = os.environ[PREFIX]
CACHES["default"]["KEY_PREFIX"] = os.environ[PREFIX] + "cache"
# Real password hashing is slow by design.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Users of different tests have the same key, so one test would use up another's calls.
REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"] = {}
LANGBOT["LIMITS"] = json.loads(os.environ.get("TEST_LIMITS", "{}"))
# Providers that a test registers through the ports of a host of its own.
INSTALLED_APPS += [app for app in os.environ.get("TEST_APPS", "").split(",") if app]
