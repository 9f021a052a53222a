"""The project's settings for workers, which serve no page.

The admin's pages, and the REST framework behind them, are loaded with the addresses
that lead to them: when the first mail links to one.
"""

from langbot.settings import *  # noqa: F403 - all but one app
from langbot.settings import INSTALLED_APPS as _APPS

_LATE = {"django.contrib.admin": "django.contrib.admin.apps.SimpleAdminConfig"}
INSTALLED_APPS = [_LATE.get(app, app) for app in _APPS]
