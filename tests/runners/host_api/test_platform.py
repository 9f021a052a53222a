"""Messages and actions of bots: granted by name, within the workspace, once."""

import pytest

from platforms.adapters import registry
from platforms.adapters.base import Adapter, AdapterError, SendResult
from platforms.outbox import deliver
from runners.models import Conversation, Delivery, TranscriptItem
from tests.factories import BotFactory, WorkspaceFactory

PERMISSIONS = {"tools": ["call"]}


class Loud(Adapter):
    """A platform that can edit, and pin."""

    kind = "loud"
    label = "Loud"
    supports_edit = True
    actions = frozenset({"pin", "fail", "doubt", "crash"})

    def __init__(self):
        self.done, self.sent = [], []

    def act(self, bot, action, params):
        self.done.append((action, dict(params)))
        if action == "crash":
            raise RuntimeError("bug")
        if action != "pin":
            raise AdapterError("no", permanent=True, ambiguous=action == "doubt")
        return {"pinned": params["id"]}

    def send(self, bot, delivery):
        self.sent.append(("send", delivery.payload["text"]))
        return SendResult(message_id="m-1")

    def edit(self, bot, message_id, delivery):
        self.sent.append((f"edit {message_id}", delivery.payload["text"]))
        return SendResult(message_id=message_id)


@pytest.fixture
def loud(monkeypatch):
    adapter = Loud()
    monkeypatch.setitem(registry._adapters, adapter.kind, adapter)
    return adapter


@pytest.fixture
def bot(workspace, loud):
    return BotFactory.create(workspace=workspace, adapter="loud")


@pytest.fixture
def actor(caller_of, bot):
    def make(*actions, **more):
        tools = [f"platform_{action}" for action in actions]
        run = {"bot_id": bot.public_id, **more}
        return caller_of(PERMISSIONS, tools=tools, run=run)

    return make


def test_a_granted_action_is_done_once(actor, loud):
    caller = actor("pin")
    asked = {"action": "pin", "params": {"id": 3}, "seq_id": 80}
    for _ in range(2):
        assert caller("call_platform_api", **asked) == {"result": {"pinned": 3}}
    assert loud.done == [("pin", {"id": 3})]
    asked = {"tool_name": "platform_pin", "parameters": {"id": 4}}
    assert caller("call_tool", **asked) == {"result": {"pinned": 4}}


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("fail", "platform.error"),
        ("doubt", "outcome_unknown"),
        ("crash", "outcome_unknown"),
        ("dance", "not_available"),
    ],
)
def test_failures_are_typed_and_not_repeated(actor, loud, action, code):
    caller = actor(action)
    for _ in range(2):
        assert caller.refused("call_platform_api", action=action, seq_id=81) == code
    assert len(loud.done) == (action != "dance")


def test_what_the_policy_does_not_name_is_refused(actor, loud):
    assert actor().refused("call_platform_api", action="pin") == "permission_denied"
    assert loud.done == []


def test_bots_of_other_workspaces_do_not_exist(actor):
    caller = actor("pin", "send_message")
    far = BotFactory.create(workspace=WorkspaceFactory.create())
    for bot in (str(far.public_id), "no id"):
        for action in ("pin", "send_message"):
            asked = {"bot_uuid": bot, "action": action, "params": {"target_id": "g"}}
            assert caller.refused("call_platform_api", **asked) == "not_found"


def test_a_dry_run_does_nothing(actor, loud):
    caller = actor("pin", dry_run=True)
    answer = caller("call_platform_api", action="pin", params={"id": 1})
    assert answer == {"result": {"dry_run": True}}
    assert loud.done == []


def test_a_message_to_anybody_is_a_delivery(actor, bot):
    caller = actor("send_message")
    chain = [{"type": "Plain", "text": "Good morning"}]
    params = {"target_type": "group", "target_id": "g-1", "message": chain}
    asked = {"bot_uuid": str(bot.public_id), "action": "send_message"}
    for _ in range(2):
        caller("call_platform_api", **asked, params=params, seq_id=82)
    delivery = Delivery.objects.get()
    assert (delivery.bot_id, delivery.target) == (bot.public_id, "g-1|")
    assert delivery.payload["reply_target"] == {"type": "group", "id": "g-1"}
    place = Conversation.objects.get(external_id="g-1")
    assert TranscriptItem.objects.get().conversation == place
    assert caller.told.events == []
    caller("call_platform_api", **asked, params=params)
    assert Delivery.objects.filter(conversation=place).count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_growing_reply_is_edited_on_the_platform(actor, loud, monkeypatch):
    from runners.ledger import saying

    monkeypatch.setattr(saying, "EDIT_PAUSE", -saying.EDIT_PAUSE)
    caller = actor()
    assert caller.facts.snapshot["can_edit"] is True
    for operation, text in (("update", "a"), ("update", "ab"), ("finish", "abc")):
        data = {"stream_id": "s", "operation": operation, "text": text}
        caller("reply_stream", **data)
        assert deliver(Delivery.objects.latest("pk").pk) is not None
    assert loud.sent == [("send", "a"), ("edit m-1", "ab"), ("edit m-1", "abc")]
