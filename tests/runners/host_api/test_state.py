"""State of a run by its host calls, beside what `test_authorization` asks."""


def test_the_short_name_of_the_upstream_conversation_is_the_long_one(caller):
    place = {"scope": "conversation", "key": "conversation_id"}
    caller("state_set", **place, value="up-1")
    whole = {**place, "key": "external.conversation_id"}
    assert caller("state_get", **whole) == {"value": "up-1"}
    assert caller("state_get", **place) == {"value": "up-1"}
    listed = caller("state_list", scope="conversation")
    assert listed["keys"] == ["external.conversation_id"]
    assert caller("state_delete", **place) == {"success": True}
    assert caller("state_get", **whole) == {"value": None}
