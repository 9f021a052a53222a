"""First-run content: made once, printed once, left alone afterwards."""

import json
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command

from agents.models import Agent, AgentBinding, Model
from agents.registry.models import PluginToken
from langbot.core.models import ApiToken, Workspace
from langbot.first_run import ensure_plugin_key, first_run
from langbot.lib.conf import conf
from langbot.lib.secrets import hash_token
from platforms.models import Bot

pytestmark = pytest.mark.django_db
KEYS = ["admin_url", "username", "password", "api_token", "plugin_token", "chat_url"]


@pytest.fixture(autouse=True)
def data_dir(settings, tmp_path):
    settings.LANGBOT = {**settings.LANGBOT, "DATA_DIR": tmp_path}
    return tmp_path


def run():
    output = StringIO()
    call_command("firstrun", stdout=output)
    return output.getvalue()


def test_the_content_of_the_contract_is_there():
    first_run()
    workspace = Workspace.objects.get(slug="default")
    echo = Agent.objects.get(slug="echo")
    assistant = Agent.objects.get(slug="assistant")
    assert echo.workspace == assistant.workspace == workspace
    assert echo.runner_id == "plugin:langbot/echo/default"
    assert assistant.runner_id == "plugin:langbot/local-agent/default"
    assert (echo.version, assistant.version) == (1, 1)
    model = Model.objects.get(provider__kind="demo")
    assert assistant.runner_config["model"]["primary"] == str(model.public_id)
    bot = Bot.objects.get(slug="web")
    binding = AgentBinding.objects.get()
    assert (bot.adapter, binding.agent, binding.scope) == ("web", echo, "bot")
    assert binding.scope_ref == "web"


def test_what_is_printed_works_and_is_kept_for_its_owner(client, data_dir):
    printed = run()
    path = data_dir / "first-run.json"
    answer = json.loads(path.read_text())
    assert list(answer) and set(answer) == set(KEYS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert all(answer[key] in printed for key in KEYS)
    assert client.login(username=answer["username"], password=answer["password"])
    user = get_user_model().objects.get()
    assert user.is_superuser
    token = ApiToken.objects.get(token_hash=hash_token(answer["api_token"]))
    assert token.user == user
    plugin = PluginToken.objects.get(token_hash=hash_token(answer["plugin_token"]))
    assert plugin.workspace == Workspace.objects.get(slug="default")
    assert plugin.plugins == ["*"]
    assert len(answer["plugin_token"]) >= 32
    assert answer["chat_url"].endswith("/chat/web/")


def test_a_second_run_prints_addresses_only_and_changes_nothing(data_dir):
    first = run()
    secrets = json.loads((data_dir / "first-run.json").read_text())
    Agent.objects.get(slug="echo").bindings.all().delete()
    Agent.objects.filter(slug="echo").update(name="Renamed")
    counts = [model.objects.count() for model in (Agent, Bot, ApiToken, PluginToken)]
    second = run()
    for key in ("password", "api_token", "plugin_token"):
        assert secrets[key] in first
        assert secrets[key] not in second
    assert secrets["admin_url"] in second
    assert Agent.objects.get(slug="echo").name == "Renamed"
    assert not AgentBinding.objects.exists()
    now = [model.objects.count() for model in (Agent, Bot, ApiToken, PluginToken)]
    assert now == counts


def test_a_failure_leaves_nothing_half_made(monkeypatch, data_dir):
    def fail(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("langbot.first_run.write_private", fail)
    with pytest.raises(OSError, match="disk full"):
        first_run()
    assert not Workspace.objects.exists()
    assert not get_user_model().objects.exists()
    monkeypatch.undo()
    assert first_run()["password"]


def test_a_model_of_the_environment_is_used(settings):
    given = {"base_url": "https://models.example/v1", "api_key": "k", "model": "m-1"}
    settings.LANGBOT = {**settings.LANGBOT, "FIRST_MODEL": given}
    answer = first_run()
    model = Model.objects.select_related("provider").get()
    assert (model.name, model.provider.kind) == ("m-1", "openai")
    assert model.provider.base_url == given["base_url"]
    assert model.provider.api_key == "k"
    assert "k" not in answer.values()


def test_the_plugin_key_survives_and_is_replaced_when_it_stops_working(data_dir):
    path = ensure_plugin_key()
    token = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert ensure_plugin_key().read_text() == token
    row = PluginToken.objects.get(token_hash=hash_token(token))
    assert row.workspace is None
    row.delete()
    replaced = ensure_plugin_key().read_text()
    assert replaced != token
    assert PluginToken.objects.filter(token_hash=hash_token(replaced)).exists()


def test_no_secret_reaches_the_logs(data_dir, caplog, capfd):
    with caplog.at_level("DEBUG"):
        answer = first_run()
        key = ensure_plugin_key().read_text()
    written = caplog.text + "".join(capfd.readouterr())
    written += "".join(p.read_text() for p in (conf().data_dir).glob("logs/*"))
    secrets = [answer["password"], answer["api_token"], answer["plugin_token"], key]
    assert not [secret for secret in secrets if secret in written]
