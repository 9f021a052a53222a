import pytest

from agents.resources.llm import LlmRequest, ModelSpec, close_clients

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def allow_local(settings):
    settings.LANGBOT = {**settings.LANGBOT, "OUTBOUND_ALLOW": ["127.0.0.1"]}


@pytest.fixture
async def make_spec(allow_local):
    """Build specs of one provider, and close its client afterwards."""

    def build(base_url: str, **fields) -> ModelSpec:
        given = {
            "id": "m-1",
            "name": "tiny",
            "kind": "llm",
            "provider_id": "p-1",
            "provider_name": "Local",
            "provider_kind": "openai",
            "api_key": KEY,
            "timeout_seconds": 5,
        }
        return ModelSpec(**{**given, "base_url": base_url, **fields})

    yield build
    await close_clients()


@pytest.fixture
def hello() -> LlmRequest:
    return LlmRequest(messages=[{"role": "user", "content": "Hi", "name": None}])
