"""Every page of the admin answers, with rows present, and shows no secret."""

import re
from copy import copy
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import UniqueConstraint
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from langbot.core.models import Workspace
from tests.langbot.admin_site_rows import SECRET, populate

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
LABELS = [model._meta.label for model in MODELS]
RECORDS = {
    "langbot_core.AuditLog",
    "langbot_core.Notification",
    "langbot_runners.PendingAction",
    "langbot_runners.ToolGrant",
    "langbot_agents.AgentVersion",
    "langbot_agents.PluginConnection",
    "langbot_agents.QuotaWindow",
    "langbot_agents.UsageRecord",
    "langbot_artifacts.Artifact",
    "langbot_runners.AgentRun",
    "langbot_runners.Conversation",
    "langbot_runners.Delivery",
    "langbot_runners.EventLog",
    "langbot_runners.HostCall",
    "langbot_runners.HostCallRefusal",
    "langbot_runners.QueuedMessage",
    "langbot_runners.RemoteRuntime",
    "langbot_runners.RunnerState",
    "langbot_runners.WorkerNode",
}
LARGE = [
    "langbot_runners.AgentRun",
    "langbot_runners.EventLog",
    "langbot_runners.Conversation",
    "langbot_runners.Delivery",
    "langbot_core.AuditLog",
    "langbot_artifacts.Artifact",
    "langbot_agents.UsageRecord",
]


@pytest.fixture
def plain_tokens(db):
    return populate()


@pytest.fixture
def staff(plain_tokens, client):
    person = get_user_model().objects.create_superuser("root", password="x")
    client.force_login(person)
    return client


@pytest.fixture
def reader(plain_tokens, client):
    """A member who may look at everything and change nothing."""
    person = get_user_model().objects.create_user("rita", is_staff=True)
    Workspace.objects.get().memberships.create(user=person)
    person.user_permissions.set(Permission.objects.filter(codename__startswith="view"))
    client.force_login(person)
    return client


def address(model, page, *args):
    meta = model._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=args)


def body_of(client, url):
    response = client.get(url)
    assert response.status_code == 200, url
    return response.content.decode()


def clean_of_secrets(body, plain_tokens):
    return not any(secret in body for secret in [SECRET, "gAAAA", *plain_tokens])


def test_all_models_of_the_host_are_in_the_admin():
    assert {label for label in LABELS if label.startswith("langbot_")} >= {
        *RECORDS,
        "langbot_core.Workspace",
        "langbot_core.Membership",
        "langbot_core.ApiToken",
        "langbot_agents.Agent",
        "langbot_agents.AgentBinding",
        "langbot_agents.RunnerDescriptor",
        "langbot_agents.PluginToken",
        "langbot_agents.ModelProvider",
        "langbot_agents.Model",
        "langbot_platforms.Bot",
    }


@pytest.mark.parametrize("model", MODELS, ids=LABELS)
def test_pages_answer_and_show_no_secret(staff, plain_tokens, model):
    rows = list(model._default_manager.all())
    assert rows, "populate() makes a row of every model"
    pages = [address(model, "changelist")]
    pages += [address(model, "change", row.pk) for row in rows]
    pages += [address(model, "changelist") + "?q=nothing"]
    for page in pages:
        assert clean_of_secrets(body_of(staff, page), plain_tokens), page
    added = staff.get(address(model, "add"))
    assert added.status_code == (403 if model._meta.label in RECORDS else 200) or (
        model._meta.label == "langbot_agents.RunnerDescriptor"
    )


@pytest.mark.parametrize("model", MODELS, ids=LABELS)
def test_readers_see_no_secret_either(reader, plain_tokens, model):
    for row in model._default_manager.all():
        body = body_of(reader, address(model, "change", row.pk))
        assert clean_of_secrets(body, plain_tokens)
        assert 'name="_save"' not in body


@pytest.mark.parametrize("label", sorted(RECORDS))
def test_records_cannot_be_added_changed_or_deleted(staff, label):
    model = MODELS[LABELS.index(label)]
    row = model._default_manager.first()
    assert row is not None
    # People write labels and notes on runs, titles of conversations, and nothing else.
    is_written = label.endswith(("AgentRun", "Conversation"))
    closed = ("delete",) if is_written else ("change", "delete")
    for page in closed:
        assert staff.post(address(model, page, row.pk), {}).status_code == 403
    assert staff.post(address(model, "add"), {}).status_code == 403


@pytest.mark.parametrize("model", MODELS, ids=LABELS)
def test_lists_are_short_and_make_no_query_per_row(staff, model):
    row_admin = admin.site._registry[model]
    request = RequestFactory().get("/")
    assert len(row_admin.get_list_display(request)) <= 7
    page = address(model, "changelist")
    body_of(staff, page)
    with CaptureQueriesContext(
        connection,
    ) as before:
        body_of(staff, page)
    multiply(model)
    with CaptureQueriesContext(connection) as after:
        body_of(staff, page)
    assert len(after) == len(before)


def multiply(model):
    """Copy a row five times, with other values where they have to be unique."""
    row = model._default_manager.last()
    constraints = [
        one for one in model._meta.constraints if isinstance(one, UniqueConstraint)
    ]
    unique = {name for constraint in constraints for name in constraint.fields}
    for number in range(5):
        double = copy(row)
        double.pk, double._state.adding = None, True
        double._state.fields_cache = {}
        for field in model._meta.concrete_fields:
            if field.unique or field.name in unique:
                _make_unique(double, field, 1000 + number)
        model.save_base(double, force_insert=True)


def _make_unique(row, field, number):
    kind = field.get_internal_type()
    if kind == "UUIDField":
        setattr(row, field.name, uuid4())
    elif kind in {"CharField", "SlugField"}:
        setattr(row, field.name, f"plugin:x/y/{uuid4()}"[: field.max_length])
    elif kind.endswith("IntegerField"):
        setattr(row, field.name, number)
    elif field.related_model is get_user_model():
        setattr(row, field.name, get_user_model().objects.create_user(f"u{number}"))
    elif kind == "OneToOneField":
        event = copy(getattr(row, field.name))
        event.pk, event._state.adding = None, True
        event.public_id, event.event_id = uuid4(), str(number)
        event.save()
        setattr(row, field.name, event)


@pytest.mark.parametrize("model", MODELS, ids=LABELS)
@pytest.mark.parametrize("text", ["x", "%", "'", "１", "a" * 500, "\x00"])
def test_search_takes_any_text(staff, model, text):
    response = staff.get(address(model, "changelist"), {"q": text})
    assert response.status_code == 200


@pytest.mark.parametrize("label", LARGE)
def test_large_tables_are_never_counted(staff, label):
    model = MODELS[LABELS.index(label)]
    with CaptureQueriesContext(connection) as queries:
        body_of(staff, address(model, "changelist"))
    table = model._meta.db_table
    counted = [
        query["sql"]
        for query in queries
        if "COUNT(" in query["sql"].upper() and table in query["sql"]
    ]
    assert not counted


def test_overview_shows_the_state_of_the_host(staff):
    body = body_of(staff, reverse("admin:index"))
    assert "Runs in the last 24 hours" in body
    assert "Workers alive" in body
    assert "completed 1" in body


def test_overview_shows_only_what_a_person_may_see(client, db):
    person = get_user_model().objects.create_user("nobody", is_staff=True)
    client.force_login(person)
    assert "Workers alive" not in body_of(client, reverse("admin:index"))


def test_pages_have_no_inline_event_handlers_of_ours(staff):
    root = Path(__file__).resolve().parents[2] / "templates" / "admin"
    for template in root.rglob("*.html"):
        assert not re.search(r"\son\w+\s*=|<script>|javascript:", template.read_text())


def test_navigation_names_only_pages_that_exist():
    from langbot.admin_navigation import NAVIGATION

    links = [item["link"] for group in NAVIGATION for item in group["items"]]
    assert all(str(link).startswith("/") for link in links)
    named = {str(link) for link in links}
    hidden = {"AgentVersion", "HostCall", "RunnerState"}
    for model in MODELS:
        if model._meta.object_name not in hidden:
            assert address(model, "changelist") in named


@pytest.mark.parametrize("kind", ["apitoken", "plugintoken"])
def test_token_is_shown_once_and_stored_as_a_hash(staff, kind):
    from agents.registry.tokens import verify_plugin_token
    from langbot.core.models import ApiToken, AuditLog
    from langbot.lib.secrets import hash_token

    app = "langbot_core" if kind == "apitoken" else "langbot_agents"
    person = get_user_model().objects.get(username="bob")
    data = {
        "label": "mine",
        "workspace": Workspace.objects.get().pk,
        "user": person.pk,
        "scopes": ["read", "write"],
        "plugins": "a/b",
        "expires_at_0": "",
        "expires_at_1": "",
    }
    response = staff.post(reverse(f"admin:{app}_{kind}_add"), data)
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    plain = response.context["plain_token"]
    assert plain in response.content.decode()
    if kind == "apitoken":
        api_token = ApiToken.objects.get(token_hash=hash_token(plain))
        assert api_token.scopes == ["read", "write"]
    else:
        plugin_token = verify_plugin_token(plain)
        assert plugin_token is not None
        assert plugin_token.plugins == ["a/b"]
    token: Any = api_token if kind == "apitoken" else plugin_token
    page = reverse(f"admin:{app}_{kind}_change", args=[token.pk])
    assert plain not in body_of(staff, page)
    entry = AuditLog.objects.get(object_id=str(token.public_id))
    assert (entry.actor, entry.action) == ("root", "created")
    assert plain not in str(entry.after)
    act = {"action": "revoke", "_selected_action": [token.pk]}
    staff.post(reverse(f"admin:{app}_{kind}_changelist"), act)
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_admin_needs_a_permission_for_its_acts(reader):
    from agents.models import Agent

    act = {"action": "archive", "_selected_action": [Agent.objects.get().pk]}
    reader.post(reverse("admin:langbot_agents_agent_changelist"), act)
    assert Agent.objects.get().archived_at is None


@pytest.mark.parametrize(
    "page",
    ["langbot_agents_plugintoken", "langbot_agents_agent", "langbot_platforms_bot"],
)
def test_forms_begin_with_the_only_or_the_persons_workspace(client, db, page):

    root = get_user_model().objects.create_superuser("root", password="x")
    client.force_login(root)
    url = reverse(f"admin:{page}_add")

    def chosen():
        return client.get(url).context["adminform"].form.initial.get("workspace")

    only = Workspace.objects.create(slug="one", name="One")
    assert chosen() == only.pk
    mine = Workspace.objects.create(slug="two", name="Two")
    assert chosen() is None
    mine.memberships.create(user=root)
    assert chosen() == mine.pk


@pytest.mark.parametrize(
    ("path", "target"),
    [("/", "/admin/"), ("/favicon.ico", "/static/langbot_chat/icon.svg")],
)
def test_short_addresses_lead_somewhere(client, path, target):
    answer = client.get(path)
    assert (answer.status_code, answer.url) == (302, target)
