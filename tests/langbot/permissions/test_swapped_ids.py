"""Ids of another workspace in paths, bodies, filters and forms: nothing comes out.

A few hundred in every run, five thousand in the slow one. Each swap puts an id of the
other workspace (any row's public id, key, slug or name) where an own one belongs.
"""

import json
import random
from uuid import UUID

import pytest
from django.contrib import admin
from django.db import transaction
from django.test import Client

from tests.langbot.permissions.routes import rest_routes
from tests.langbot.permissions.test_admin_matrix import address as page_of
from tests.langbot.permissions.test_rest_matrix import value_of
from tests.langbot.permissions.worlds import bounded_models

pytestmark = pytest.mark.django_db
ROUTES = rest_routes()
READS = [route for route in ROUTES if "GET" in route.methods]
WRITES = [
    (route, method)
    for route in ROUTES
    for method in route.methods
    if method != "GET" and "by-slug" not in route.path
]
FILTERS = ("agent", "bot", "conversation", "run", "parent", "scope_ref", "key", "id")
ROLES = ("admin", "operator", "auditor", "viewer")
# Bodies that would be accepted if the ids in them were own ones.
BODIES = [
    lambda pick: {"agent": pick(), "scope": "bot", "scope_ref": pick()},
    lambda pick: {"text": "hi", "agent": pick(), "parent": pick(), "files": [pick()]},
    lambda pick: {"type": "message.received", "bot": pick(), "conversation": pick()},
    lambda pick: {"key": pick(), "bot": pick()},
    lambda pick: {
        "run": pick(),
        "scope": "runner",
        "key": "k",
        "value": 1,
        "version": 0,
    },
    lambda pick: {
        "slug": f"new-{random.random()}".replace(".", ""),  # noqa: S311  no secret
        "name": "New",
        "runner": f"plugin:{pick()}/tools/main",
        "runner_config": {"model": {"primary": pick()}},
        "resource_policy": {"models": [pick()]},
    },
    lambda pick: {"labels": [], "notes": "mine", "workspace": pick(), "owner": pick()},
    lambda pick: {"enabled": False, "priority": 3, "agent": pick()},
]


class Swapper:
    """Makes requests with foreign ids and collects what leaks."""

    def __init__(self, worlds, client_of, seed):
        self.own, self.other = worlds
        self.client_of = client_of
        self.random = random.Random(seed)  # noqa: S311  a repeatable choice
        self.ids = self._foreign_ids()
        self.pages = {role: self._signed_in(role) for role in ROLES}
        self.leaks = []

    def _signed_in(self, role):
        client = Client()
        client.force_login(self.own.users[role])
        return client

    def _foreign_ids(self):
        found = set()
        for row in self.other.rows.values():
            found.add(row.pk)
            names = ("public_id", "slug", "runner_id", "key")
            found |= {getattr(row, name) for name in names if hasattr(row, name)}
        return sorted(found, key=str)

    def pick(self):
        return str(self.random.choice(self.ids))

    def pick_like(self, value):
        """Return a foreign id of the same kind as an own one."""
        same = [one for one in self.ids if isinstance(one, type(value))]
        return self.random.choice(same)

    def role(self):
        return self.random.choice(ROLES)

    def swap_path(self):
        route, method = self.random.choice(
            [*WRITES, *((route, "GET") for route in READS if route.parameters)]
        )
        if not route.parameters or route.path.endswith("stream/"):
            return
        role = self.role()
        values = {
            name: value_of(self.own, route, name, role) for name in route.parameters
        }
        names = [name for name in values if name != "number"]
        swapped = self.random.choice(names)
        # Keys of two models may be equal: another row's key would be an own one's.
        values[swapped] = (
            value_of(self.other, route, swapped, role)
            if isinstance(values[swapped], int)
            else self.pick_like(values[swapped])
        )
        response = self.send(role, method, route.fill(**values), {})
        self.judge(response, f"{method} {route.path}", {403, 404, 405})

    def swap_body(self):
        route, method = self.random.choice(WRITES)
        role = self.role()
        values = {
            name: value_of(self.own, route, name, role) for name in route.parameters
        }
        body = self.random.choice(BODIES)(self.pick)
        response = self.send(role, method, route.fill(**values), body)
        self.judge(response, f"{method} {route.path} {body}", None)

    def swap_filter(self):
        route = self.random.choice([one for one in READS if not one.parameters])
        name = self.random.choice(FILTERS)
        response = self.send(
            self.role(), "GET", f"{route.fill()}?{name}={self.pick()}", None
        )
        self.judge(response, f"GET {route.path}?{name}", {200, 400, 403})

    def swap_page(self):
        model = self.random.choice(bounded_models())
        page = self.random.choice(["change", "delete", "history"])
        row = self.other.rows[model._meta.label]
        url = page_of(model, page, row)
        client = self.pages[self.role()]
        if self.random.random() < 0.5:
            response = self.within(lambda: client.get(url), writes=False)
        else:
            response = self.within(lambda: client.post(url, {"post": "yes"}))
        self.judge(response, url, {403, 404})

    def swap_field(self):
        """Post foreign keys into every relation of an add form, or a list's action."""
        model = self.random.choice(bounded_models())
        client = self.pages["admin"]
        row_admin = admin.site._registry[model]
        if self.random.random() < 0.5:
            data = {
                field.name: self.other.rows[field.related_model._meta.label].pk
                for field in model._meta.concrete_fields
                if field.is_relation
                and field.related_model._meta.label in self.other.rows
            }
            data |= {"name": "n", "slug": f"s{self.random.random()}"[:8], "label": "l"}
            response = self.within(lambda: client.post(page_of(model, "add"), data))
            self.judge(response, f"add {model._meta.label}", {200, 403})
            return
        actions = [name for name in row_admin.actions or () if isinstance(name, str)]
        data = {
            "action": self.random.choice([*actions, "delete_selected"]),
            "_selected_action": [self.other.rows[model._meta.label].pk],
            "post": "yes",
        }
        url = page_of(model, "changelist")
        response = self.within(lambda: client.post(url, data))
        self.judge(response, f"action {data['action']} {url}", {200, 302, 403})

    def send(self, role, method, url, body):
        text = "" if body is None else json.dumps(body)
        client = self.client_of(role)
        return self.within(
            lambda: client.generic(method, url, text, content_type="application/json"),
            writes=method != "GET",
        )

    def within(self, call, *, writes=True):
        """Send, note a change of the other workspace, and undo it."""
        with transaction.atomic():
            response = call()
            self.changed = writes and fingerprint(self.other) != self.before
            transaction.set_rollback(True)
        return response

    def judge(self, response, what, statuses):
        body = b"" if response.streaming else response.content
        text = body.decode()
        wrong = statuses is not None and response.status_code not in statuses
        # An answer may repeat what was asked, and says nothing more.
        said = [word for word in self.secret_words() if word in text]
        if wrong or response.status_code >= 500 or self.changed or said:
            self.leaks.append((what, response.status_code, said, self.changed))

    def secret_words(self):
        name = self.other.name
        return [f"{name} says", f"{name} cloud", f"{name} model", f"{name} agent"]

    def run(self, count):
        self.before = fingerprint(self.other)
        kinds = [self.swap_path] * 5 + [self.swap_body] * 5 + [self.swap_filter] * 3
        kinds += [self.swap_page, self.swap_field]
        for _ in range(count):
            self.random.choice(kinds)()
        return self.leaks


def fingerprint(world):
    """Return the stored state of every row of a world."""
    rows = [type(row)._base_manager.filter(pk=row.pk) for row in world.rows.values()]
    return [list(found.values()) for found in rows]


def test_a_few_hundred_swapped_ids_leak_nothing(worlds, client_of):
    assert Swapper(worlds, client_of, seed=1).run(300) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_thousand_swapped_ids_leak_nothing(worlds, client_of):
    assert Swapper(worlds, client_of, seed=2).run(5000) == []


def test_a_leak_would_be_seen(worlds, client_of):
    """The same judge finds what a superuser is told."""
    swapper = Swapper(worlds, client_of, seed=3)
    swapper.before = fingerprint(swapper.other)
    client = Client()
    client.force_login(swapper.own.users["superuser"])
    model = next(m for m in bounded_models() if m._meta.label.endswith(".Agent"))
    url = page_of(model, "change", swapper.other.rows[model._meta.label])
    swapper.judge(swapper.within(lambda: client.get(url)), url, {403, 404})
    assert swapper.leaks


def test_streams_of_another_workspace_do_not_exist(worlds, client_of):
    _own, other = worlds
    run = other.rows["langbot_runners.AgentRun"]
    for role in ("admin", "viewer", "nowhere"):
        url = f"/api/v1/runs/{run.public_id}/stream/"
        assert client_of(role).get(url).status_code == 404


def test_a_visitors_token_opens_one_bot_only(worlds):
    from platforms.chat.visits import ChatError, Visit, open_visit
    from platforms.models import Bot

    own, other = worlds
    bots = [world.rows["langbot_platforms.Bot"] for world in (own, other)]
    Bot.objects.filter(pk__in=[bot.pk for bot in bots]).update(adapter="web")
    mine = Visit(bots[0], UUID(int=7)).token()
    assert open_visit(bots[0].slug, mine).visitor == UUID(int=7)
    with pytest.raises(ChatError) as refused:
        open_visit(bots[1].slug, mine)
    assert refused.value.code == "invalid_token"
