"""What the OpenAPI document is, whatever project serves it.

Plain values, because settings are made of them; the hooks are in `langbot.schema`.
"""

from typing import Any

DOCUMENT: dict[str, Any] = {
    "TITLE": "Agent host",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": ".*/api/v1",  # a project may have put it under a prefix
    "COMPONENT_SPLIT_REQUEST": True,
    "GET_LIB_DOC_EXCLUDES": "langbot.schema.classes_of_no_call",
    "PREPROCESSING_HOOKS": ["langbot.schema.only_our_views"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "langbot.schema.document_common_parts",
    ],
}
