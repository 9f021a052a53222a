"""The host's admin pages on more sites than the one in use."""

from django.contrib import admin
from django.contrib.admin import AdminSite

PREFIX = "langbot_"  # of the labels of all our apps


def register_on(site: AdminSite) -> None:
    """Show our pages on this site too; call it where its URLs are made.

    They are on Django's default site (`AdminConfig.default_site`) by themselves.
    """
    for model, page in admin.site._registry.items():
        if model._meta.app_label.startswith(PREFIX) and not site.is_registered(model):
            site.register(model, type(page))
