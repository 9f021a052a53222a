"""Every way to change something in the admin leaves an entry of its person and door."""

import json

import pytest
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import Client, RequestFactory
from django.urls import reverse

from agents.models import (
    Model,
)
from langbot.core.models import AuditLog, Membership
from tests.langbot.admin_site_acts import (
    ADDED,
    CHANGED,
    CHOSEN,
    ELSEWHERE,
    FIRST,
    PASSWORD,
    READY,
)
from tests.langbot.admin_site_rows import SECRET, populate
from tests.support.posted import posted

pytestmark = pytest.mark.django_db
GROWING = ("runner_id", "adapter")


@pytest.fixture(scope="module")
def site(django_db_setup, django_db_blocker):
    """Rows of every page, made once: what a test changes is undone by itself."""
    with django_db_blocker.unblock(), transaction.atomic():
        populate()
        yield get_user_model().objects.create_superuser("root", password=PASSWORD)
        transaction.set_rollback(True)


@pytest.fixture
def root(site, db):
    client = Client()
    client.force_login(site)
    return client


def model_named(label):
    return next(m for m in admin.site._registry if m._meta.label == label)


def address(label, page, *args):
    return reverse(f"admin:{label.replace('.', '_').lower()}_{page}", args=args)


def row_of(label):
    rows = model_named(label)._default_manager
    chosen = {"auth.User": {"username": "bob"}, "auth.Group": {"name": "operators"}}
    return rows.filter(**chosen.get(label, {})).order_by("pk").first()


def doors():
    """Return what a superuser may do on every page that is registered."""
    request = RequestFactory().get("/")
    request.user = get_user_model()(is_superuser=True, is_staff=True, is_active=True)
    for model, page in admin.site._registry.items():
        label = model._meta.label
        for right in ("add", "change", "delete"):
            if getattr(page, f"has_{right}_permission")(request):
                yield f"{right} {label}"
        for action in page.get_actions(request):
            yield f"{action} {label}"
        for inline in page.get_inline_instances(request):
            yield f"inline {inline.model._meta.label} of {label}"


def send_form(root, page, values):
    """Post a page's form as it is shown, with some values of ours."""
    grown = {name: values[name] for name in GROWING if name in values}
    data = posted(root.get(page, grown).content.decode())
    for name, value in values.items():
        many = value if isinstance(value, list) else [value]
        data.setlist(name, [str(one) for one in many if one != ""])
    return root.post(page, data)


def change(root, door):
    action, label = door.split(" ", 1)
    if action in FIRST:
        FIRST[action](model_named(label))
    if door in READY:
        READY[door]()
    row = CHOSEN[door]() if door in CHOSEN else row_of(label)
    if action == "add":
        return send_form(root, address(label, "add"), ADDED[label]())
    if action == "change":
        return send_form(root, address(label, "change", row.pk), CHANGED[label])
    if action == "delete":
        return root.post(address(label, "delete", row.pk), {"post": "yes"})
    chosen = {"action": action, "_selected_action": [row.pk], "post": "yes"}
    return root.post(address(label, "changelist"), chosen)


def said(answer):
    """Return what the page said instead of doing it."""
    if answer.context is None:
        return [str(one) for one in messages.get_messages(answer.wsgi_request)]
    return answer.context.get("errors") or answer.context.get("protected")


DOORS = sorted(set(doors()))
CASES = [one for one in DOORS if one not in ELSEWHERE and "inline" not in one]
INLINES = {
    # The rows of each have entries of their own: tests/langbot/test_audit_entries.py,
    # tests/agents/test_admin_bindings.py, test_retention_rules.py, and below.
    "inline langbot_core.Membership of langbot_core.Workspace",
    "inline langbot_core.WorkspaceRetention of langbot_core.Workspace",
    "inline langbot_agents.Model of langbot_agents.ModelProvider",
    "inline langbot_agents.ModelPrice of langbot_agents.Model",
}


def test_every_form_has_an_example():
    for right, table in (("add", ADDED), ("change", CHANGED)):
        named = {f"{right} {label}" for label in table}
        wanted = {door for door in DOORS if door.startswith(f"{right} ")}
        assert wanted - ELSEWHERE.keys() == named, "add it to admin_site_acts"
    assert set(READY) | set(ELSEWHERE) | set(CHOSEN) <= set(DOORS)
    assert {door for door in DOORS if door.startswith("inline ")} == INLINES


@pytest.mark.parametrize("door", CASES)
def test_a_change_in_the_admin_leaves_an_entry(root, door):
    before = AuditLog.objects.latest("pk").pk
    answer = change(root, door)
    entries = AuditLog.objects.filter(pk__gt=before)
    assert answer.status_code in {200, 302}, answer.content
    assert entries, (door, said(answer))
    assert {entry.actor for entry in entries} == {"root"}
    assert {entry.source for entry in entries} == {"admin"}
    told = json.dumps(list(entries.values_list("before", "after")))
    assert SECRET not in told
    assert PASSWORD not in told
    assert "pbkdf2" not in told
    assert "md5$" not in told


def own_password(old, new):
    return {"old_password": old, "new_password1": new, "new_password2": new}


def test_changing_ones_own_password_leaves_an_entry_without_it(root):
    page, before = reverse("admin:password_change"), AuditLog.objects.latest("pk").pk
    assert root.get(page).status_code == 200
    refused = root.post(page, own_password("a wrong one", "another one 88"))
    assert refused.status_code == 200
    assert not AuditLog.objects.filter(pk__gt=before).exists()
    changed = root.post(page, own_password(PASSWORD, "another one 88"))
    assert changed["Location"] == reverse("admin:password_change_done")
    entry = AuditLog.objects.get(pk__gt=before)
    person = get_user_model().objects.get(username="root")
    assert (entry.action, entry.actor, entry.source) == (
        "password changed",
        "root",
        "admin",
    )
    assert (entry.object_type, entry.object_id) == ("auth.user", str(person.pk))
    assert (entry.before, entry.after) == (None, None)
    assert person.check_password("another one 88")
    assert root.get(page).status_code == 200  # still signed in


def test_nobody_changes_a_password_without_signing_in(site):
    before = AuditLog.objects.count()
    answer = Client().post(
        reverse("admin:password_change"), own_password(PASSWORD, "another one 88")
    )
    assert "/login/" in answer["Location"]
    assert AuditLog.objects.count() == before


def test_a_password_set_for_somebody_else_is_recorded_once_and_only_when_it_is(root):
    bob = get_user_model().objects.get(username="bob")
    page, before = (
        reverse("admin:auth_user_password_change", args=[bob.pk]),
        AuditLog.objects.latest("pk").pk,
    )
    body = {"password1": "another one 88", "password2": "a typo 88"}
    assert root.post(page, {**body, "usable_password": "true"}).status_code == 200
    assert not AuditLog.objects.filter(pk__gt=before).exists()
    body["password2"] = body["password1"]
    assert root.post(page, {**body, "usable_password": "true"}).status_code == 302
    assert root.post(page, {"usable_password": "false"}).status_code == 302
    entries = AuditLog.objects.filter(pk__gt=before).order_by("pk")
    assert [(entry.action, entry.object_id) for entry in entries] == [
        ("password changed", str(bob.pk))
    ] * 2
    assert "another one 88" not in json.dumps(list(entries.values_list("after")))


def test_models_added_beside_their_provider_leave_entries(root):
    provider = Model.objects.get().provider
    page = address("langbot_agents.ModelProvider", "change", provider.pk)
    data = posted(root.get(page).content.decode())
    before = AuditLog.objects.latest("pk").pk
    data["models-TOTAL_FORMS"] = "2"
    data["models-1-name"], data["models-1-kind"] = "larger", "llm"
    data["models-1-enabled"], data["models-1-provider"] = "on", str(provider.pk)
    assert root.post(page, data).status_code == 302
    entry = AuditLog.objects.get(pk__gt=before)
    assert (entry.action, entry.object_type) == ("created", "langbot_agents.model")
    assert (entry.actor, entry.source) == ("root", "admin")


def test_rights_of_a_member_are_in_the_entry(root):
    member = Membership.objects.get(user__username="bob")
    page = address("langbot_core.Membership", "change", member.pk)
    data = posted(root.get(page).content.decode())
    data["role"] = "admin"
    assert root.post(page, data).status_code == 302
    entry = AuditLog.objects.latest("pk")
    assert (entry.before, entry.after) == ({"role": "member"}, {"role": "admin"})
    assert entry.workspace == member.workspace
