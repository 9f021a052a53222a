"""Tokens with which a client follows one run on `/ws/runs/<run id>/`."""

from typing import Any
from uuid import UUID

from rest_framework import serializers
from rest_framework.request import Request

from langbot.core.models import ApiToken
from langbot.core.rest import StrictSerializer
from runners.clients.tokens import issue_token


class TokenRequestSerializer(StrictSerializer):
    """What the client takes for the run's place; another one is refused (LH-25)."""

    conversation = serializers.UUIDField(required=False)


class RunTokenSerializer(serializers.Serializer[Any]):
    run_id = serializers.UUIDField()
    conversation = serializers.UUIDField()
    token = serializers.CharField(help_text="Good for `expires_in` seconds.")
    expires_in = serializers.IntegerField()
    socket = serializers.CharField(help_text="Where it is the first frame's token.")


def token_for(request: Request, run_id: str | UUID, workspace_id: int) -> str:
    """Return a token of this caller for one run, which they may see."""
    used = request.auth
    credential = used.public_id if isinstance(used, ApiToken) else ""
    return issue_token(run_id, workspace_id, request.user.pk, credential)
