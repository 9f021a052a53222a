"""The document through REST and the commands."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from agents.models import (
    Agent,
    AgentBinding,
)
from langbot.configuration.export import export_configuration
from langbot.core.models import AuditLog
from tests.langbot.configuration.helpers import (
    wipe,
)
from tests.support.rest import admin_client_of, client_of

APPLY = "/api/v1/apply/"


def test_rest_exports_and_applies(full):
    client = admin_client_of(full)
    content = client.get(APPLY).json()
    assert content == export_configuration(full)
    again = client.post(APPLY, content, format="json")
    assert again.status_code == 200, again.content
    assert again.json()["changes"] == []
    content["agents"][0]["name"] = "Other"
    dry = client.post(f"{APPLY}?dry_run=1", content, format="json").json()
    assert dry["dry_run"] is True
    assert [one["object"] for one in dry["changes"]] == ["agents/helper"]
    assert Agent.objects.get(slug="helper").name == "Helper"
    client.post(APPLY, content, format="json")
    assert Agent.objects.get(slug="helper").name == "Other"
    latest = AuditLog.objects.filter(action="changed").latest("pk")
    assert latest.actor == "boss"


def test_rest_names_problems_by_place(full):
    client = admin_client_of(full)
    content = client.get(APPLY).json()
    content["bots"][0]["adapter"] = "pigeon"
    refused = client.post(APPLY, content, format="json")
    assert refused.status_code == 400
    assert "bots.hook.adapter" in refused.json()["errors"]
    assert client.post(f"{APPLY}?dry_run=x", content, "json").status_code == 400


def test_rest_is_for_admins_of_the_workspace(full, user):
    client = client_of(user, full)
    assert client.get(APPLY).status_code == 403
    body = {"format": "langbot/1"}
    assert client.post(APPLY, body, format="json").status_code == 403
    user.langbot_memberships.update(role="admin")
    assert client.post(APPLY, body, format="json").status_code == 200


def test_only_superusers_bind_every_workspace(full, user):
    user.langbot_memberships.update(role="admin")
    client = client_of(user, full)
    AgentBinding.objects.create(
        agent=Agent.objects.get(slug="plain"), scope="global", priority=3
    )
    content = client.get(APPLY).json()
    assert client.post(APPLY, content, format="json").status_code == 200
    content["agents"][1]["bindings"][0]["priority"] = 5
    assert client.post(APPLY, content, format="json").status_code == 403
    assert admin_client_of(full).post(APPLY, content, "json").status_code == 200


def output_of(*command, **options):
    output = io.StringIO()
    call_command(*command, stdout=output, stderr=io.StringIO(), **options)
    return output.getvalue()


def test_the_commands_go_round(full, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(output_of("exportconfig"), encoding="utf-8")
    before = export_configuration(full)
    assert json.loads(path.read_text()) == before
    wipe(full)
    assert "created agents/helper" in output_of("applyconfig", str(path), "--dry-run")
    assert not Agent.objects.filter(workspace=full).exists()
    output_of("applyconfig", str(path))
    assert export_configuration(full) == before
    assert output_of("applyconfig", str(path)) == "0 changes.\n"


def test_the_commands_say_what_is_wrong(full, tmp_path):
    path = tmp_path / "config.json"
    for text, problem in (
        ("{", "not JSON"),
        ("{}", "format"),
        ('{"format": "langbot/1", "x": "\\u0000"}', "no database"),
        ('{"format": "langbot/1", "bots": [{"slug": "a"}]}', "bots.0.name"),
    ):
        path.write_text(text)
        with pytest.raises(CommandError, match=problem):
            call_command("applyconfig", str(path))
    with pytest.raises(CommandError, match="no workspace nowhere"):
        call_command("exportconfig", "--workspace", "nowhere")
