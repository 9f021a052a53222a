"""What the OpenAPI document says beyond the views: tokens, errors and headers."""

from typing import Any

from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerFieldExtension,
)
from drf_spectacular.plumbing import get_lib_doc_excludes

from langbot.core.rest import ListSchema, StrictModelSerializer, StrictSerializer
from langbot.problems import MEDIA_TYPE

_METHODS = ("get", "put", "post", "patch", "delete")
_TEXT = {"type": "string"}
_KEY = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"}

PROBLEM = {
    "type": "object",
    "description": "Every error (RFC 9457). Some codes bring members of their own.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Stable per code."},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For people, translated."},
        "code": {"type": "string", "description": "For programs."},
        "errors": {
            "description": "Messages by field.",
            "type": "object",
            "additionalProperties": True,
        },
    },
}
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-ID": {
        "description": "The request's own, or one made for it; logs have it too.",
        "schema": _TEXT,
    },
    "ETag": {"description": "For If-Match and If-None-Match.", "schema": _TEXT},
    "RateLimit": {
        "description": "What is left (r) and when more is there (t, seconds).",
        "schema": _TEXT,
    },
    "RateLimit-Policy": {
        "description": "Calls (q) in a window (w, seconds).",
        "schema": _TEXT,
    },
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "RequestId": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "Taken over when it is harmless.",
        "schema": _TEXT,
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A repeat within 24 hours gets the first answer.",
        "schema": _KEY,
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "412 unless the object still has this ETag.",
        "schema": _TEXT,
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "304 while the object has this ETag.",
        "schema": _TEXT,
    },
}
_ERRORS = {
    "400": "The request is not valid; `errors` names the fields.",
    "401": "No token, or one that opens nothing.",
    "403": "The rights of the caller do not allow it.",
    "404": "There is no such object in the caller's workspace.",
    "409": "The state of the object does not allow it now.",
    "412": "The object has changed since it was read.",
    "413": "The body is too large.",
    "415": "The body is no JSON.",
    "422": "Understood, and still not possible; or a key used for another request.",
    "429": "Too many calls, or a full queue.",
    "default": "Any other error.",
}
STREAM = "text/event-stream"
_SENT_EVENT = {
    "type": "object",
    "description": "One server-sent event; `data` is a ledger entry as JSON.",
    "properties": {"id": _TEXT, "event": _TEXT, "data": _TEXT},
}
# The longer endings first: one may end in another.
_SUMMARIES = {
    "_partial_update": "Change {one}",
    "_update": "Replace {one}",
    "_list": "List {many}",
    "_retrieve": "Read {one}",
    "_create": "Create {one}",
    "_destroy": "Delete {one}",
}
_NOUNS = {
    "audit": ("audit entry", "audit entries"),
    "deliveries": ("delivery", "deliveries"),
    "queued": ("queued message", "queued messages"),
    "state": ("runner state", "runner state"),
}
_ANY_OR_NULL = [{}, {"type": "null"}]
_OF_ANY = ("400", "401", "403", "404", "default")
_OF_WRITES = (*_OF_ANY, "409", "413", "415", "422", "429")


def classes_of_no_call() -> list[type]:
    """Return base classes, whose docstrings say nothing to callers of REST."""
    theirs: list[type] = get_lib_doc_excludes()  # type: ignore[no-untyped-call]  # theirs
    return [*theirs, StrictSerializer, StrictModelSerializer]


class ObjectScheme(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]  # its metaclass registers untyped
    """A JSON object; REST framework's JSON fields say nothing of their type."""

    target_class = "langbot.core.rest.ObjectField"
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: str) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {}}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # its metaclass registers untyped
    """`Authorization: Bearer <token>`."""

    target_class = "langbot.core.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


def only_our_views(endpoints: list[Any], **_: Any) -> list[Any]:
    """Leave out the views of the project around us (a hook)."""
    return [one for one in endpoints if isinstance(one[-1].cls.schema, ListSchema)]


def document_common_parts(
    result: dict[str, Any], generator: Any, request: Any, public: Any
) -> dict[str, Any]:
    """Add to every operation what no view says: errors, headers, keys (a hook)."""
    _accept_null_once(result)
    components = result.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _close_requests(schemas)
    schemas["Problem"] = PROBLEM
    components["responses"] = {_name(code): _problem(code) for code in _ERRORS}
    components["headers"] = HEADERS
    components["parameters"] = PARAMETERS
    for path, operations in result.get("paths", {}).items():
        for method in _METHODS:
            if method in operations:
                _complete(path, method, operations[method])
    return result


def _close_requests(schemas: dict[str, Any]) -> None:
    """Say that bodies hold no other members: `StrictSerializer` names them."""
    for name, schema in schemas.items():
        if name.endswith("Request") and "properties" in schema:
            schema.setdefault("additionalProperties", False)


def _accept_null_once(part: Any) -> None:
    """Say "any value" where the document says "any value, or null": one of both.

    Null would match twice, and validators refuse what matches two of `oneOf`.
    """
    items = part.values() if isinstance(part, dict) else part
    for item in items if isinstance(part, dict | list) else ():
        if isinstance(item, dict) and item.get("oneOf") == _ANY_OR_NULL:
            del item["oneOf"]
        _accept_null_once(item)


def _summary(operation_id: str) -> str:
    """Return a title of a call: `agents_list` lists agents, `test_agent` says itself.

    Without one the pages for people show bare addresses.
    """
    for ending, words in _SUMMARIES.items():
        if operation_id.endswith(ending):
            many = operation_id.removesuffix(ending).replace("_", " ")
            one = many.removesuffix("s")
            one, many = _NOUNS.get(many, (one, many))
            return words.format(one=one, many=many)
    return operation_id.replace("_", " ").capitalize()


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    operation.setdefault("summary", _summary(operation["operationId"]))
    is_object = path.rstrip("/").endswith("}")
    names = ["RequestId"]
    if method == "post":
        names.append("IdempotencyKey")
    elif method == "get":
        names += ["IfNoneMatch"] if is_object else []
    elif is_object:
        names.append("IfMatch")
    parameters = operation.setdefault("parameters", [])
    parameters += [{"$ref": f"#/components/parameters/{name}"} for name in names]
    responses = operation["responses"]
    _add_headers(responses, method)
    _describe_streams(responses)
    if is_object and method == "get":
        description = "Unchanged since the ETag of If-None-Match."
        responses["304"] = {"description": description}
    codes = list(_OF_ANY if method == "get" else _OF_WRITES)
    if is_object and method != "get":
        codes.append("412")
    for code in codes:
        name = _name(code)
        responses.setdefault(code, {"$ref": f"#/components/responses/{name}"})


def _add_headers(responses: dict[str, Any], method: str) -> None:
    names = ["X-Request-ID"]
    if method != "get":
        names += ["RateLimit", "RateLimit-Policy"]
    for response in responses.values():
        headers = response.setdefault("headers", {})
        for name in names:
            headers[name] = {"$ref": f"#/components/headers/{name}"}
        if "content" in response and _is_object(response):
            headers["ETag"] = {"$ref": "#/components/headers/ETag"}


def _describe_streams(responses: dict[str, Any]) -> None:
    for response in responses.values():
        content = response.get("content", {})
        if STREAM in content:
            content[STREAM] = {"schema": _SENT_EVENT}


def _is_object(response: dict[str, Any]) -> bool:
    """Whether the answer is one object, by reference; pages have no tag."""
    schemas = [media.get("schema", {}) for media in response["content"].values()]
    return any(
        "$ref" in schema and "Paginated" not in schema["$ref"] for schema in schemas
    )


def _problem(code: str) -> dict[str, Any]:
    names = ["X-Request-ID", *(["Retry-After"] if code in {"429", "default"} else [])]
    return {
        "description": _ERRORS[code],
        "headers": {n: {"$ref": f"#/components/headers/{n}"} for n in names},
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _name(code: str) -> str:
    return "Problem" if code == "default" else f"Problem{code}"
