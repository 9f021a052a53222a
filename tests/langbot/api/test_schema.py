from django.core.management import call_command

from langbot.core.rest import StrictModelSerializer, StrictSerializer


def test_the_openapi_document_is_valid_and_complete(tmp_path):
    target = tmp_path / "schema.yml"
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(target))
    text = target.read_text()
    for path in (
        "/agents/by-slug/{slug}/:",
        "/agents/{id}/versions/:",
        "/agents/{id}/test/:",
        "/bindings/:",
        "/runners/:",
        "/events/:",
        "/conversations/{id}/messages/:",
        "/conversations/{id}/pending/{message_id}/:",
        "/queued/{id}/:",
        "/runs/{id}/events/:",
        "/runs/{id}/stream/:",
        "/runs/{id}/cancel/:",
        "/deliveries/{id}/:",
    ):
        assert f"/api/v1{path}" in text


def test_every_call_has_a_title(client, db):
    document = client.get("/api/v1/schema/?format=json").json()
    titles = {
        (path.removeprefix("/api/v1"), method): operation["summary"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if isinstance(operation, dict)
    }
    assert titles["/deliveries/", "get"] == "List deliveries"
    assert titles["/agents/{id}/", "patch"] == "Change agent"
    assert titles["/agents/{id}/test/", "post"] == "Test agent"
    assert all(titles.values())


def test_descriptions_are_for_callers(client, db):
    text = client.get("/api/v1/schema/?format=json").content.decode()
    for base in (StrictSerializer, StrictModelSerializer):
        assert base.__doc__ not in text


def test_document_and_page_are_served(client, db):
    assert client.get("/api/v1/schema/").status_code == 200
    assert client.get("/api/v1/docs/").status_code == 200
