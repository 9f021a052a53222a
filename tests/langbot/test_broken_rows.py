"""One broken row of a list is left out; the others and the total stay (AG-113)."""

import functools

import pytest
from django.contrib.auth import get_user_model
from django.db.models import TextField, Value
from django.urls import reverse
from prometheus_client import generate_latest

from agents.models import ModelProvider
from langbot.lib.rows import row_left_out
from langbot.metrics import REGISTRY
from platforms.models import Bot
from runners.models import Delivery
from tests.factories import BotFactory
from tests.runners.admin_rows import make_run

PROVIDERS = "admin:langbot_agents_modelprovider_changelist"


@pytest.fixture
def staff(client, db):
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


@pytest.fixture
def providers(workspace):
    """Three, of which the second one's key cannot be decrypted."""
    made = [
        ModelProvider.objects.create(workspace=workspace, name=name, api_key="k")
        for name in ("first", "second", "third")
    ]
    spoil(ModelProvider, "api_key", made[1])
    return made


def spoil(model, column, row):
    """Store what no key of this installation can decrypt."""
    plain = Value("not encrypted", output_field=TextField())
    model.objects.filter(pk=row.pk).update(**{column: plain})


def test_list_shows_the_others_and_says_so(staff, providers):
    answer = staff.get(reverse(PROVIDERS))
    page = answer.context["cl"]
    assert [row.name for row in page.result_list] == ["first", "third"]
    assert page.result_count == 3
    assert "1 row of this page cannot be read" in answer.content.decode()


def test_a_column_that_cannot_be_shown_leaves_its_row_out(staff, agent, monkeypatch):
    from runners.admin.deliveries import DeliveryAdmin

    for number in range(3):
        run = make_run(agent)
        Delivery.objects.create(
            workspace=run.workspace,
            run=run,
            conversation=run.conversation,
            bot_id=run.public_id,
            target=f"room-{number}|",
            payload={},
            next_attempt_at=run.created_at,
        )
    shown = DeliveryAdmin.place

    def place(self, delivery):
        if delivery.target == "room-1|":
            raise KeyError(delivery.target)
        return shown(self, delivery)

    setattr(place, "short_description", "place")  # noqa: B010  as `admin.display` does
    monkeypatch.setattr(DeliveryAdmin, "place", place)
    answer = staff.get(reverse("admin:langbot_runners_delivery_changelist"))
    assert answer.status_code == 200
    assert [one.target for one in answer.context["cl"].result_list] == [
        "room-2|",
        "room-0|",
    ]


def test_a_column_is_computed_once_for_each_row(staff, agent, monkeypatch):
    from runners.admin.runs import AgentRunAdmin as RunAdmin

    runs, asked = [make_run(agent) for _ in range(3)], []
    name = next(
        str(name)
        for name in RunAdmin.list_display
        if callable(getattr(RunAdmin, str(name), None))
    )
    shown = getattr(RunAdmin, name)

    @functools.wraps(shown)
    def counted(self, run):
        asked.append(run.pk)
        return shown(self, run)

    monkeypatch.setattr(RunAdmin, name, counted)
    answer = staff.get(reverse("admin:langbot_runners_agentrun_changelist"))
    assert answer.status_code == 200
    assert sorted(asked) == sorted(run.pk for run in runs)


@pytest.mark.parametrize("limit", [1, 2, 50])
def test_rest_pages_go_on_behind_a_broken_row(api_client, workspace, limit):
    bots = BotFactory.create_batch(5, workspace=workspace, secrets={"token": "t"})
    for broken in bots[1:4]:
        spoil(Bot, "secrets", broken)
    url, seen = f"/api/v1/bots/?limit={limit}", []
    while url:
        answer = api_client.get(url)
        assert answer.status_code == 200
        seen += [row["slug"] for row in answer.json()["results"]]
        url = answer.json()["next"]
    assert seen == [bots[4].slug, bots[0].slug]


def test_rest_leaves_out_what_it_cannot_show(api_client, workspace, monkeypatch):
    from platforms.api.bots import BotSerializer

    bots = BotFactory.create_batch(3, workspace=workspace)
    shown = BotSerializer.to_representation

    def to_representation(self, bot):
        if bot.pk == bots[1].pk:
            raise KeyError("of another shape")
        return shown(self, bot)

    monkeypatch.setattr(BotSerializer, "to_representation", to_representation)
    told: list[tuple[str, int]] = []

    def note(model, key, **_signal):
        told.append((model, key))

    row_left_out.connect(note)
    answer = api_client.get("/api/v1/bots/")
    row_left_out.disconnect(note)
    rows = answer.json()["results"]
    assert [row["slug"] for row in rows] == [bots[2].slug, bots[0].slug]
    assert answer["X-Left-Out"] == "1"
    assert told == [("langbot_platforms.Bot", bots[1].pk)]
    assert "langbot_rows_left_out_total" in generate_latest(REGISTRY).decode()
    assert "X-Left-Out" not in api_client.get("/api/v1/agents/")


def test_a_mistake_of_ours_is_no_broken_row(api_client, workspace, monkeypatch):
    from platforms.api.bots import BotSerializer

    BotFactory.create_batch(2, workspace=workspace)
    monkeypatch.setattr(
        BotSerializer, "to_representation", lambda self, _bot: self.misspelt
    )
    api_client.raise_request_exception = False
    assert api_client.get("/api/v1/bots/").status_code == 500
