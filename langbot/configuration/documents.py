"""The export format. Every member has the type and the name that REST gives it."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic import ValidationError as DocumentError

from agents.bindings import EVENT_PATTERN
from agents.choices import (
    BindingScope,
    ModelKind,
    MultitaskStrategy,
    ProviderKind,
    QuotaScope,
    SessionScope,
    Tier,
    UsageWindow,
)
from agents.models import default_event_types
from agents.services import RUNNER_ID
from langbot.core.periods import LONGEST_DAYS, RUN_DAYS, USAGE_DAYS

FORMAT = "langbot/1"
_SHOWN_PROBLEMS = 50
_MAXIMUM = 2**31 - 1

Slug = Annotated[str, Field(pattern=r"^[-a-zA-Z0-9_]+$", max_length=50)]
Object = dict[str, Any]
Microdollars = Annotated[int, Field(ge=0, le=2**63 - 1)]
Days = Annotated[int, Field(ge=0, le=LONGEST_DAYS)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PriceDocument(_Document):
    """What a model costs from a time on, in microdollars per million tokens."""

    valid_from: AwareDatetime
    input_microdollars: Microdollars
    output_microdollars: Microdollars = 0
    cached_microdollars: Microdollars | None = None
    cache_write_microdollars: Microdollars | None = None
    reasoning_microdollars: Microdollars | None = None
    call_microdollars: Microdollars = 0


class ModelDocument(_Document):
    """A model, named by its provider and its name."""

    name: str = Field(min_length=1, max_length=200)
    kind: Literal[tuple(ModelKind.values)] = ModelKind.LLM.value  # type: ignore[valid-type]  # the choices are the type
    context_window_tokens: int | None = Field(default=None, ge=1, le=_MAXIMUM)
    extra_args: Object = {}
    enabled: bool = True
    prices: list[PriceDocument] = []


class ProviderDocument(_Document):
    """Where models are called; `api_key` is only ever read."""

    name: str = Field(min_length=1, max_length=100)
    kind: Literal[tuple(ProviderKind.values)] = ProviderKind.OPENAI.value  # type: ignore[valid-type]  # as above
    base_url: str = Field(default="", max_length=500)
    timeout_seconds: int = Field(default=120, ge=1, le=_MAXIMUM)
    enabled: bool = True
    api_key: str | None = Field(default=None, max_length=1000)
    models: list[ModelDocument] = []


class BotDocument(_Document):
    """A bot; `config` may bring secrets."""

    slug: Slug
    name: str = Field(min_length=1, max_length=200)
    adapter: str = Field(max_length=50)
    enabled: bool = True
    config: Object = {}


class BindingDocument(_Document):
    """A binding of the agent that it stands in; `scope_ref` is a bot's slug."""

    scope: Literal[tuple(BindingScope.values)]  # type: ignore[valid-type]  # as above
    scope_ref: str = Field(default="", max_length=100)
    event_pattern: str = Field(
        default="message.received", max_length=100, pattern=EVENT_PATTERN
    )
    filters: Object = {}
    priority: int = Field(default=0, ge=-_MAXIMUM - 1, le=_MAXIMUM)
    enabled: bool = True
    resource_policy: Object | None = None
    state_policy: Object | None = None
    delivery_policy: Object | None = None


class AgentDocument(_Document):
    """An agent; `bindings` are all it has, or null to leave them as they are."""

    slug: Slug
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=20_000)
    enabled: bool = True
    runner: str = Field(max_length=300, pattern=RUNNER_ID)
    runner_config: Object = {}
    resource_policy: Object = {}
    state_policy: Object = {}
    delivery_policy: Object = {}
    approval_policy: Object = {}
    event_types: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default_factory=default_event_types, max_length=100
    )
    session_scope: Literal[tuple(SessionScope.values)] = SessionScope.SHARED.value  # type: ignore[valid-type]  # as above
    multitask_strategy: Literal[tuple(MultitaskStrategy.values)] = (  # type: ignore[valid-type]  # as above
        MultitaskStrategy.ENQUEUE.value
    )
    bindings: list[BindingDocument] | None = None


class QuotaDocument(_Document):
    """A budget; `agent` is a slug. Those of single persons are no configuration."""

    scope: Literal[tuple(QuotaScope.values)]  # type: ignore[valid-type]  # as above
    agent: str = Field(default="", max_length=50)
    tier: Literal[tuple(Tier.values)] | None = None  # type: ignore[valid-type]  # as above
    window: Literal[tuple(UsageWindow.values)]  # type: ignore[valid-type]  # as above
    limit_microdollars: Microdollars | None = None
    enabled: bool = True

    @property
    def label(self) -> str:
        """What tells the quotas of one workspace apart."""
        return f"{self.scope}:{self.agent or self.tier or '*'} {self.window}"


class RetentionDocument(_Document):
    """How many days a workspace keeps things; 0 keeps them for good."""

    run_days: Days = RUN_DAYS
    message_days: Days = 0
    file_days: Days = 0
    state_days: Days = 0
    usage_days: Days = USAGE_DAYS
    audit_days: Days | None = None


class ConfigurationDocument(_Document):
    """A workspace's configuration. What it does not name stays as it is."""

    format: Literal["langbot/1"]
    providers: list[ProviderDocument] = []
    bots: list[BotDocument] = []
    agents: list[AgentDocument] = []
    quotas: list[QuotaDocument] = []
    retention: RetentionDocument | None = None


def read_document(content: Any) -> ConfigurationDocument:
    """Check the shape of a document; raises ValidationError keyed by place."""
    try:
        document = ConfigurationDocument.model_validate(content)
    except DocumentError as error:
        raise ValidationError(
            {
                ".".join(map(str, issue["loc"])) or "non_field_errors": [issue["msg"]]
                for issue in error.errors()[:_SHOWN_PROBLEMS]
            }
        ) from None
    _check_unique(document)
    return document


def _prices(document: ConfigurationDocument) -> Iterator[tuple[str, list[str]]]:
    for provider in document.providers:
        for model in provider.models:
            begins = [price.valid_from.isoformat() for price in model.prices]
            yield f"providers.{provider.name}.models.{model.name}.prices", begins


def _check_unique(document: ConfigurationDocument) -> None:
    for section, names in (
        ("providers", [row.name for row in document.providers]),
        ("bots", [row.slug for row in document.bots]),
        ("agents", [row.slug for row in document.agents]),
        ("quotas", [row.label for row in document.quotas]),
        *_prices(document),
    ):
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            names_shown = ", ".join(repeated[:_SHOWN_PROBLEMS])
            message = _("Named twice: %(names)s.") % {"names": names_shown}
            raise ValidationError({section: [message]})
