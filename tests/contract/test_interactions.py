"""What people are asked is what the public SDK knows; a drift fails here (LH-24)."""

import json
import subprocess

import pytest

from runners.decisions import Decision
from runners.models import PendingAction
from runners.questions import _submission
from runners.sdk import interactions
from tests.support.sdk_environment import SDK_VERSIONS, sdk_environment

# Installing a version for the first time takes longer than a test otherwise may.
pytestmark = [pytest.mark.sdk, pytest.mark.timeout(900)]

_ASK = """
import json
from langbot_plugin.api.entities.builtin.runner import interaction as sdk
names = {"asked": "InteractionRequest", "answer": "InteractionSubmission"}
print(json.dumps({
    "requested": sdk.INTERACTION_REQUESTED_ACTION,
    "submitted": sdk.INTERACTION_SUBMITTED_EVENT,
    **{key: getattr(sdk, name).model_json_schema() for key, name in names.items()},
}))
"""


@pytest.fixture(scope="module", params=SDK_VERSIONS)
def sdk(request):
    """Return what one version of the SDK says of questions and answers."""
    python = sdk_environment(request.param).python
    command = [str(python), "-c", _ASK]
    told = subprocess.run(command, capture_output=True, check=True, text=True)
    return json.loads(told.stdout)


def bounds_of(schema):
    """Return the fields of a schema and of its parts with what they may hold."""
    parts = schema.get("$defs", {})

    def plain(one):
        if isinstance(one, dict):
            if "$ref" in one:
                return bounds_of({**parts[one["$ref"].split("/")[-1]], "$defs": parts})
            left = one.items()
            return {k: plain(v) for k, v in left if k not in {"title", "default"}}
        return [plain(part) for part in one] if isinstance(one, list) else one

    # Any JSON has no properties: the SDK has a name for it.
    own = {name: plain(one) for name, one in schema.get("properties", {}).items()}
    return {"fields": own, "others": schema.get("additionalProperties", True)}


def test_a_question_has_the_fields_and_bounds_of_the_sdk(sdk):
    ours = bounds_of(interactions.Interaction.model_json_schema())
    theirs = bounds_of(sdk["asked"])
    assert theirs["others"] is False
    for schema in (ours, theirs):
        del schema["fields"]["fields"]["items"]["fields"]["default"]
    assert ours == theirs
    assert sdk["requested"] == interactions.REQUESTED
    assert sdk["submitted"] == interactions.SUBMITTED


def test_an_answer_has_what_the_sdk_takes_and_no_more(sdk):
    action = PendingAction(form={"interaction_id": "i1"})
    decision = Decision(decision="respond", values={"why": "x", "action_id": "ok"})
    given = _submission(action, decision)
    assert set(given) == set(sdk["answer"]["properties"])
    assert sdk["answer"]["additionalProperties"] is False
    assert given["values"] == {"why": "x"}
