"""Every address of the project, walked from the URL resolver."""

import re
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.urls import get_resolver

PAGES = ("changelist", "add", "change", "delete", "history")
_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True)
class Route:
    """One address pattern; `methods` is known of REST views only."""

    path: str
    name: str
    callback: Any

    @property
    def parameters(self):
        return _PARAMETER.findall(self.path)

    @property
    def methods(self):
        actions = getattr(self.callback, "actions", None)
        return [name.upper() for name in actions if name != "head"] if actions else []

    @property
    def model(self):
        """The model of a REST view's rows."""
        return self.callback.cls.queryset.model

    def fill(self, **values):
        return "/" + _PARAMETER.sub(lambda found: str(values[found[1]]), self.path)


def all_routes():
    return list(_walk(get_resolver().url_patterns, ""))


def _walk(patterns, prefix):
    for one in patterns:
        path = prefix + str(one.pattern)
        if hasattr(one, "url_patterns"):
            yield from _walk(one.url_patterns, path)
        else:
            yield Route(path, one.name or "", one.callback)


def rest_routes():
    return [route for route in all_routes() if route.methods]


def page_names():
    """The names of Django's own pages of every model in the admin."""
    return {
        f"{model._meta.app_label}_{model._meta.model_name}_{page}"
        for model in admin.site._registry
        for page in PAGES
    }


def other_routes():
    """What is neither REST nor a model's usual page."""
    usual = page_names()
    return [
        route for route in all_routes() if not route.methods and _is_own(route, usual)
    ]


def _is_own(route, usual):
    redirect = route.path.startswith("admin/") and not route.name
    return route.name not in usual and not redirect
