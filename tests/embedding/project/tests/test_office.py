"""The admin of the host on a site of the project's own, without its theme."""

import importlib.util

import pytest
from django.contrib import admin
from django.urls import reverse

from langbot.core.models import AuditLog, Membership
from shop.models import Customer
from shop.office import OfficeSite


@pytest.fixture
def office(client, workspace_factory):
    boss = Customer.objects.create_superuser("boss@example.org", "a password")
    workspace_factory().memberships.create(user=boss, role=Membership.Role.ADMIN)
    client.force_login(boss)
    return client


def pages():
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist"), 200
        yield reverse(f"{name}_add"), (200, 403)  # records are not made by hand
        for row in model._default_manager.all()[:1]:
            yield reverse(f"{name}_change", args=[row.pk]), 200


def test_every_page_opens(
    office, send_message, agent_factory, bot_factory, binding_factory
):
    assert importlib.util.find_spec("unfold") is None
    binding_factory(agent_factory("support"), "bot", scope_ref="web")
    send_message("hi", bot=bot_factory("web"), conversation="door")
    opened = list(pages())
    assert len(opened) > 40
    for page, expected in opened:
        status = office.get(page).status_code
        assert status in (expected if isinstance(expected, tuple) else (expected,)), (
            page
        )
    index = office.get(reverse("admin:index")).content.decode()
    assert OfficeSite.site_header in index.replace("&#x27;", "'")


def test_people_are_named_by_id_where_the_site_does_not_show_them(
    office, workspace_factory
):
    ada = Customer.objects.create(email="ada@example.org")
    url = reverse("admin:langbot_core_membership_add")
    values = {"user": ada.pk, "workspace": workspace_factory().pk, "role": "member"}
    answer = office.post(url, values)
    assert answer.status_code == 302, answer.context["errors"]
    assert ada.langbot_memberships.get().workspace == workspace_factory()
    assert AuditLog.objects.latest("pk").actor == "boss@example.org"
    found = office.get(
        reverse("admin:langbot_core_membership_changelist"), {"q": "ada"}
    )
    assert "ada@example.org" in found.content.decode()
