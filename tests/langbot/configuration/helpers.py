"""What tests of a workspace as one document share."""

import json

from agents.models import (
    Agent,
    AgentBinding,
    AgentVersion,
    Model,
    ModelPrice,
    ModelProvider,
    Quota,
)
from langbot.configuration.apply import apply_configuration
from langbot.configuration.documents import read_document
from langbot.core.models import AuditLog
from langbot.core.periods import WorkspaceRetention
from platforms.models import Bot

SECRET = "a s3cret value"
RUNNER = "plugin:acme/helper/default"


def wipe(workspace):
    AgentBinding.objects.filter(agent__workspace=workspace).delete()
    Agent.objects.filter(workspace=workspace).delete()
    Bot.objects.filter(workspace=workspace).delete()
    ModelProvider.objects.filter(workspace=workspace).delete()
    Quota.objects.filter(workspace=workspace).delete()
    WorkspaceRetention.objects.filter(workspace=workspace).delete()


def apply(workspace, content, **options):
    document = read_document(json.loads(json.dumps(content)))
    return apply_configuration(workspace, document, author="ada", **options)


def objects(applied):
    return {one["object"]: one["action"] for one in applied.changes}


def counts():
    made = (Agent, AgentVersion, AgentBinding, Bot, Model, ModelProvider)
    rows = (*made, ModelPrice, Quota, WorkspaceRetention, AuditLog)
    return [row.objects.count() for row in rows]
