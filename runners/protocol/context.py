"""What a runner is told about its run (`wire.md` §5.2).

The host builds it with `RunnerContext(...).dump()`; a plugin reads it with
`RunnerContext.model_validate(...)`. Unknown keys are ignored except where released SDKs
refuse them. Fields without a value are left out of the dump: older SDKs do not know
all of them and refuse some.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_serializer
from pydantic_core.core_schema import SerializerFunctionWrapHandler

from runners.protocol.messages import ContentElement

TriggerSource = Literal[
    "platform", "webui", "api", "scheduler", "system", "host_adapter"
]
InlineMode = Literal["none", "current_event", "recent_tail", "summary_tail"]


def _whole_seconds(value: Any) -> Any:
    # Released SDKs declare these times as integers and refuse fractions.
    return int(value) if isinstance(value, float) else value


EpochSeconds = Annotated[int, BeforeValidator(_whole_seconds)]


class ContextPart(BaseModel):
    model_config = ConfigDict(extra="ignore")

    @model_serializer(mode="wrap")
    def _without_empty_fields(
        self, handler: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        return {key: value for key, value in dumped.items() if value is not None}


class StrictPart(ContextPart):
    """Released SDKs refuse unknown keys here, so the host must not invent any."""

    model_config = ConfigDict(extra="forbid")


class Trigger(ContextPart):
    type: str
    source: TriggerSource = "host_adapter"
    timestamp: EpochSeconds | None = None


class RawRef(ContextPart):
    ref_id: str | None = None
    storage_key: str | None = None


class Event(ContextPart):
    event_id: str
    event_type: str
    event_time: EpochSeconds | None = None
    source: str
    source_event_type: str | None = None
    raw_ref: RawRef | None = None
    data: dict[str, Any] = {}


class ConversationContext(ContextPart):
    conversation_id: str | None = None
    thread_id: str | None = None
    launcher_type: str | None = None
    launcher_id: str | None = None
    sender_id: str | None = None
    bot_id: str | None = None
    workspace_id: str | None = None
    session_id: str | None = None


class Actor(ContextPart):
    actor_type: str
    actor_id: str | None = None
    actor_name: str | None = None
    metadata: dict[str, Any] = {}


class Subject(ContextPart):
    subject_type: str
    subject_id: str | None = None
    data: dict[str, Any] = {}


class InputAttachment(StrictPart):
    ref: str | None = None
    type: str | None = None
    mime_type: str | None = None
    size: int | None = None
    name: str | None = None
    source: str | None = None
    url: str | None = None
    path: str | None = None
    content: str | None = None
    id: str | None = None


class InteractionSubmission(StrictPart):
    """A person's answer to an `interaction.requested` of an earlier run (wire 6.1)."""

    interaction_id: str
    action_id: str | None = None
    values: dict[str, Any] = {}
    submitted_at: EpochSeconds | None = None


class InputElement(ContentElement, ContextPart):
    model_config = ConfigDict(extra="ignore", strict=False)


class RunInput(ContextPart):
    text: str | None = None
    contents: list[InputElement] = []
    attachments: list[InputAttachment] = []
    interaction: InteractionSubmission | None = None


class InteractionSupport(StrictPart):
    field_types: list[str] = []
    action_styles: list[str] = []
    supports_updates: bool = False
    max_fields: int | None = None


class Delivery(ContextPart):
    surface: str
    automatic_reply: bool = False
    reply_target: dict[str, Any] = {}
    supports_streaming: bool = False
    supports_edit: bool = False
    supports_reaction: bool = False
    max_message_size: int | None = None
    interactions: InteractionSupport | None = None
    platform_capabilities: dict[str, Any] = {}


class _Resource(ContextPart):
    operations: list[str] = []
    """What the run may do with it; empty means everything (wire 5.2)."""

    def allows(self, operation: str) -> bool:
        return not self.operations or operation in self.operations


class ModelResource(_Resource):
    model_id: str
    model_type: str | None = None
    provider: str | None = None


class ToolResource(_Resource):
    tool_name: str
    tool_type: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None


class KnowledgeBaseResource(_Resource):
    kb_id: str
    kb_name: str | None = None
    kb_type: str | None = None


class SkillResource(ContextPart):
    skill_name: str
    display_name: str | None = None
    description: str | None = None


class StorageResource(ContextPart):
    plugin_storage: bool = False
    workspace_storage: bool = False


class Resources(ContextPart):
    models: list[ModelResource] = []
    tools: list[ToolResource] = []
    knowledge_bases: list[KnowledgeBaseResource] = []
    skills: list[SkillResource] = []
    storage: StorageResource = Field(default_factory=StorageResource)
    platform_capabilities: dict[str, Any] = {}


class InlinePolicy(ContextPart):
    mode: InlineMode = "current_event"
    delivered_count: int = 0
    source_total_count: int | None = None
    messages_complete: bool = False
    reason: str | None = None


class AvailableApis(ContextPart):
    """Which host calls this run may make; everything else is refused."""

    box: bool = False
    reply_stream: bool = False
    prompt_get: bool = False
    history_page: bool = False
    history_search: bool = False
    event_get: bool = False
    event_page: bool = False
    state: bool = False
    storage: bool = False
    steering_pull: bool = False
    run_get: bool = False
    run_list: bool = False
    run_events_page: bool = False
    run_cancel: bool = False
    run_append_result: bool = False
    run_finalize: bool = False
    artifact_metadata: bool = False
    artifact_read: bool = False


class ContextAccess(ContextPart):
    """Handles to more than the current event (LB-35)."""

    conversation_id: str | None = None
    thread_id: str | None = None
    latest_cursor: str | None = None
    event_seq: int | None = None
    transcript_seq: int | None = None
    has_history_before: bool = False
    inline_policy: InlinePolicy = Field(default_factory=InlinePolicy)
    available_apis: AvailableApis = Field(default_factory=AvailableApis)


class StateSnapshot(ContextPart):
    conversation: dict[str, Any] = {}
    actor: dict[str, Any] = {}
    subject: dict[str, Any] = {}
    runner: dict[str, Any] = {}


class Runtime(ContextPart):
    """`deadline_at` is in epoch seconds; the plugin ends the run itself at it."""

    langbot_version: str | None = None
    trace_id: str | None = None
    deadline_at: float | None = None
    metadata: dict[str, Any] = {}


class Adapter(ContextPart):
    extra: dict[str, Any] = {}


class RunnerContext(ContextPart):
    """The complete context of one invocation."""

    run_id: str = Field(min_length=1)
    trigger: Trigger
    event: Event
    conversation: ConversationContext | None = None
    actor: Actor | None = None
    subject: Subject | None = None
    input: RunInput
    delivery: Delivery
    resources: Resources
    context: ContextAccess = Field(default_factory=ContextAccess)
    state: StateSnapshot = Field(default_factory=StateSnapshot)
    runtime: Runtime
    variables: dict[str, Any] = {}
    config: dict[str, Any] = {}
    adapter: Adapter | None = None
    metadata: dict[str, Any] = {}

    def dump(self) -> dict[str, Any]:
        """Return the object that goes on the wire; a null in free-form data stays."""
        return self.model_dump()

    @classmethod
    def load(cls, data: Any) -> Self:
        """Read a received context; raises pydantic's ValidationError."""
        return cls.model_validate(data)
