"""The admin pages on a second site, in place of the usual one."""

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.urls import include, path, reverse
from unfold.sites import UnfoldAdminSite

from agents.models import Agent
from langbot.admin_sites import register_on


@pytest.fixture
def site(settings):
    site = UnfoldAdminSite("second")  # the theme needs one of its kind
    register_on(site)
    register_on(site)
    site.register([get_user_model(), Group])  # for this project's sidebar
    settings.ROOT_URLCONF = (
        path("second/", site.urls),
        path("i18n/", include("django.conf.urls.i18n")),
        path("ai/", include("langbot.app_urls")),
    )
    return site


def test_our_pages_are_there_and_nothing_else(site):
    ours = {
        m for m in admin.site._registry if m._meta.label_lower.startswith("langbot_")
    }
    assert Agent in ours
    assert set(site._registry) - {get_user_model(), Group} == ours


def test_they_open_there(site, client, agent):
    client.force_login(get_user_model().objects.create_superuser("boss"))
    for name, arguments in [("changelist", []), ("change", [agent.pk])]:
        url = reverse(f"admin:langbot_agents_agent_{name}", args=arguments)
        assert url.startswith("/second/")
        assert client.get(url).status_code == 200
